// Runs before the first paint, so that a chosen theme does not flash. A classic script: modules run later.
"use strict";
try {
  const theme = localStorage.getItem("babelclip.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
