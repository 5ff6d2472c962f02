// The button for light and dark; theme.js applies what it has stored before the page is painted.

import { iconButton, memory, one } from "./dom.js";
import { t } from "./words.js";

const THEMES = ["auto", "light", "dark"];

export function showTheme() {
  const stored = memory.get("theme");
  const theme = THEMES.includes(stored) ? stored : "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = iconButton(theme, t(`theme_${theme}`), () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    memory.set("theme", next === "auto" ? null : next);
    showTheme();
    one("theme").focus();
  }, { id: "theme" });
  one("theme").replaceWith(button);
}
