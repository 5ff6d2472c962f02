// What the page says besides pictures: how much was found, what to do first, what went wrong.

import { explain } from "./arrivals.js";
import { icon, make, one } from "./dom.js";
import { number, t } from "./words.js";

const HINTS = [["look", "typeHint"], ["picture", "dropHint"], ["globe", "packHint"]];

/** Show the line that is read aloud, and a note where there are no pictures; `answer` and `index` may be null. */
export function tell({ problem, answer, index, languages, comparing, retry }) {
  const count = answer?.results.length ?? 0;
  const status = one("status");
  status.textContent = count ? t("results", { count: number(count), items: number(answer.items) }) : "";
  if (count) {
    const time = t("time", { ms: number(answer.milliseconds) });
    status.append(make("span", { "aria-hidden": "true" }, ` · ${time}`));
  }
  if (problem) tellProblem(problem, retry);
  else if (comparing || count) note();
  else if ((answer ?? index)?.items === 0)
    note(t("emptyIndex"), { text: t("emptyHint"), code: "babelclip index FOLDER" });
  else if (answer) note(t("nothing"), { text: t("nothingHint"), role: "status" });
  else if (index) {
    const known = { items: number(index.items), count: number(languages.length) };
    note(t("welcome", known), { more: hints(), kind: "welcome" });
  } else note();
}

function tellProblem(problem, retry) {
  const again = make("button", { type: "button", class: "strong", onclick: () => retry() }, t("retry"));
  const alert = { kind: "alert", role: "alert" };
  if (problem.kind === "gone") note(t("gone"), { text: t("goneHint"), code: "babelclip serve", more: again, ...alert });
  else if (problem.kind === "token")
    note(t("token"), { text: [problem.message, t("tokenHint")].filter(Boolean).join("\n"), ...alert });
  else note(explain(problem), { more: again, ...alert });
}

function note(title = "", { text = "", code = "", more = null, kind = "", role = "note" } = {}) {
  const box = one("note");
  box.hidden = !title;
  box.className = `note ${kind}`;
  box.setAttribute("role", role);
  box.replaceChildren(
    make("p", { class: "title", dir: "auto" }, ...unbroken(title)),
    ...(text ? [make("p", { class: "soft", dir: "auto" }, text)] : []),
    ...(code ? [make("code", { dir: "ltr" }, code)] : []),
    ...(more ? [make("div", {}, more)] : []),
  );
}

/** Parts between dots stay together where a line ends. */
const unbroken = (text) =>
  text.split(/(?<= ·) /).flatMap((part, i) => [i ? " " : "", make("span", { class: "part" }, part)]);

const hints = () => make("ul", {}, ...HINTS.map(([sign, key]) => make("li", {}, icon(sign), make("span", {}, t(key)))));
