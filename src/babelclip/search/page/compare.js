// One search in several languages: a line for each, and what each finds below it.

import { Problem, find } from "./api.js";
import { explain } from "./arrivals.js";
import { icon, iconButton, make, one } from "./dom.js";
import { fill, move } from "./grid.js";
import { withFilters } from "./state.js";
import { languageName, t } from "./words.js";

const SHOWN = 12;
const PAUSE = 200; // after the last key, in milliseconds
const COMPOSING = 600; // the same while letters are still being put together

const root = one("lines");
let rows = [];
let context = null;

/** `change(lines, typing)` is called with new lines, `open(results, id)` with a picture to show. */
export function prepareCompare(given) {
  context = given;
}

/** The first lines: what was typed, in its language, and another language with what was typed in that one. */
export function firstLines(state, languages, detected, texts) {
  const tags = languages.map((language) => language.tag);
  const own = state.language !== "auto" ? state.language : (detected ?? tags[0]);
  const lines = [{ tag: own, text: state.q }];
  return [...lines, ...nextLine(lines, languages, texts)];
}

/** A line in a language that has none; one that was typed in goes first. */
function nextLine(lines, languages, texts) {
  const free = languages.map((language) => language.tag).filter((tag) => !lines.some((line) => line.tag === tag));
  const tag = free.find((one) => texts.has(one)) ?? free[0];
  return tag ? [{ tag, text: texts.get(tag) ?? "" }] : [];
}

export function showCompare(state, languages) {
  root.hidden = !state.lines;
  if (!state.lines) {
    for (const row of rows) row.stop();
    rows = [];
    root.replaceChildren();
    return;
  }
  const made = [document.documentElement.lang, ...languages.map((language) => language.tag)].join();
  if (root.dataset.made !== made || !root.firstChild) {
    for (const row of rows) row.stop();
    rows = [];
    root.dataset.made = made;
    const more = make("button", { type: "button", class: "quiet", id: "add-line", onclick: add }, icon("plus"), t("addLanguage"));
    root.replaceChildren(make("p", { class: "soft" }, t("compareHint")), more);
  }
  while (rows.length > state.lines.length) discard(rows.at(-1));
  while (rows.length < state.lines.length) {
    rows.push(makeRow(languages));
    one("add-line").before(rows.at(-1).element);
  }
  one("add-line").hidden = rows.length >= languages.length;
  const filters = withFilters(new URLSearchParams(), state, SHOWN).toString();
  rows.forEach((row, place) => row.update(state.lines[place], filters));
}

function add() {
  const { lines, languages, texts } = context.now();
  context.change([...lines, ...nextLine(lines, languages, texts)]);
  root.querySelector(".line:last-of-type input")?.focus();
}

function discard(row) {
  row.stop();
  row.element.remove();
  rows = rows.filter((other) => other !== row);
}

function makeRow(languages) {
  const edit = (patch, typing = false) => {
    const place = rows.indexOf(row);
    context.change(context.now().lines.map((line, i) => (i === place ? { ...line, ...patch } : line)), typing);
  };
  let pending = 0;
  const take = () => {
    clearTimeout(pending);
    pending = 0;
    edit({ text: input.value }, true);
  };
  const typed = (pause) => {
    clearTimeout(pending);
    pending = setTimeout(take, pause);
  };
  const select = make("select", { "aria-label": t("language"), onchange: () => edit({ tag: select.value }) },
    ...languages.map((language) => make("option", { value: language.tag, lang: language.tag }, language.own_name)));
  const input = make("input", {
    type: "search", dir: "auto", "aria-label": t("search"), spellcheck: "false", maxlength: "2000",
    oninput: (event) => typed(event.isComposing ? COMPOSING : PAUSE), oncompositionend: () => typed(PAUSE),
    onchange: () => pending && take(),
  });
  const shared = make("p", { class: "soft shared" });
  const fault = make("p", { class: "fault", role: "alert", hidden: true });
  const strip = make("ul", { class: "grid strip", onkeydown: (event) => move(strip, event, () => input.focus()) });
  const element = make("div", { class: "line" },
    make("div", { class: "ask" }, select, input,
      iconButton("cross", t("remove"), () => remove(row), { class: "round drop-line" }), shared),
    fault, strip);
  for (const way of ["mouseover", "focusin"]) strip.addEventListener(way, (event) => mark(event.target.closest(".card")));
  for (const way of ["mouseout", "focusout"]) strip.addEventListener(way, () => mark(null));

  let asked = null, controller = null;
  const row = { element, results: [] };
  row.stop = () => {
    clearTimeout(pending);
    controller?.abort();
  };
  row.update = (line, filters) => {
    if (!languages.some((language) => language.tag === line.tag) && select.value !== line.tag && line.tag)
      select.append(make("option", { value: line.tag }, languageName(line.tag)));
    select.value = line.tag;
    if (!pending && input.value !== line.text) input.value = line.text;
    input.lang = line.tag;
    input.placeholder = t("inLanguage", { language: languageName(line.tag, nameOf(languages, line.tag)) });
    element.querySelector(".drop-line").hidden = rows.length <= 2;
    const wish = new URLSearchParams({ q: line.text.trim(), language: line.tag });
    const key = `${wish}&${filters}`;
    if (key === asked) return;
    controller?.abort();
    asked = key;
    ask(line.text.trim() ? key : null);
  };
  async function ask(key) {
    controller = new AbortController();
    const mine = controller;
    let results = [], problem = null;
    try {
      if (key) results = (await find(key, null, mine.signal)).results;
    } catch (error) {
      if (!(error instanceof Problem)) return;
      problem = error;
      asked = null; // the next change asks again
    }
    if (mine.signal.aborted) return;
    fault.hidden = !problem;
    fault.textContent = problem ? explain(problem) : "";
    row.results = results;
    fill(strip, results, (id) => context.open(results, id));
    count();
  }
  row.say = (text) => (shared.textContent = text);
  return row;
}

function remove(row) {
  const place = rows.indexOf(row);
  discard(row);
  context.change(context.now().lines.filter((line, i) => i !== place));
  count();
  rows[Math.min(place, rows.length - 1)].element.querySelector("input").focus();
}

/** How many pictures each row has in common with the first. */
function count() {
  const first = new Set(rows[0]?.results.map((result) => result.id));
  rows.forEach((row, place) => {
    const common = row.results.filter((result) => first.has(result.id)).length;
    const said = place > 0 && first.size > 0 && row.results.length > 0;
    row.say(said ? t("shared", { count: common, total: row.results.length }) : "");
  });
}

/** Mark a picture in every row where it was found. */
function mark(card) {
  for (const other of root.querySelectorAll(".card")) other.classList.toggle("same", other.dataset.id === card?.dataset.id);
}

const nameOf = (languages, tag) => languages.find((language) => language.tag === tag)?.name ?? tag;
