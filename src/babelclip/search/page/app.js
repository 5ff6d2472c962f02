// babelclip's page: one state, written into the address; everything that is seen follows from it.

import { find, health, languages as readLanguages } from "./api.js";
<<<<<<< HEAD
import { explain, welcomeFiles } from "./arrivals.js";
import { showGiven, showLanguages } from "./chips.js";
import { firstLines, prepareCompare, showCompare } from "./compare.js";
import { icon, iconButton, make, memory, one } from "./dom.js";
import { fill, focusCard, move } from "./grid.js";
import { FILTERS, MOST, PAGE, address, readState, wanted } from "./state.js";
import { closeView, isOpen, prepareView, showView } from "./view.js";
import { choose as chooseWords, loadWords, number, t } from "./words.js";

const PAUSE = 180; // after the last key, in milliseconds
const SLOW = 300; // a search that takes longer shows a bar
const THEMES = ["auto", "light", "dark"];
=======
import { welcomeFiles } from "./arrivals.js";
import { showGiven, showLanguages } from "./chips.js";
import { firstLines, prepareCompare, showCompare } from "./compare.js";
import { one } from "./dom.js";
import { fill, focusCard, move } from "./grid.js";
import { FILTERS, MOST, PAGE, address, readState, wanted } from "./state.js";
import { showTheme } from "./theme-switch.js";
import { tell } from "./telling.js";
import { closeView, isOpen, prepareView, showView } from "./view.js";
import { choose as chooseWords, loadWords } from "./words.js";

const PAUSE = 180; // after the last key, in milliseconds
const COMPOSING = 600; // the same while letters are still being put together
const SLOW = 300; // a search that takes longer shows a bar
>>>>>>> page

const images = new Map(); // pictures searched by; the history knows their numbers
const texts = new Map(); // the last words typed in each language, for comparing
let state = readState(location.search);
let languages = [];
let index = null; // what /health said
let answer = null; // of the search that is shown
let shown = []; // the results that the large view walks through
<<<<<<< HEAD
let asked = ""; // the search that runs or is shown
let controller = null;
let typing = false; // further keys replace the history's entry
let timer = 0;
=======
let problem = null; // what went wrong with it
let unready = false; // the languages could not be read
let asked = ""; // the search that runs or is shown
let controller = null;
let typing = false; // further keys replace the history's entry
let timer = 0; // of the words that are being typed and not yet searched for; 0 where there are none
>>>>>>> page
let sifting = 0;

// ---- state and address ----

function change(patch, { replace = false } = {}) {
<<<<<<< HEAD
  if (patch.image) images.set(images.size + 1, patch.image);
  const before = state;
  const sameSearch = "view" in patch || "k" in patch;
  state = { ...state, k: sameSearch ? state.k : PAGE, ...patch };
=======
  if (timer && !("q" in patch)) patch = { q: one("q").value, ...patch };
  forget();
  if (patch.image) images.set(images.size + 1, patch.image);
  const before = state;
  const start = "view" in patch || "k" in patch ? {} : { k: PAGE, view: "" }; // of another search
  state = { ...state, ...start, ...patch };
>>>>>>> page
  const image = [...images].find(([, file]) => file === state.image)?.[0] ?? null;
  const entry = { image, opened: !replace && Boolean(state.view) && !before.view };
  if (replace) history.replaceState({ ...history.state, image }, "", address(state));
  else history.pushState(entry, "", address(state));
  render();
}

<<<<<<< HEAD
addEventListener("popstate", (event) => {
=======
function forget() {
  clearTimeout(timer);
  timer = 0;
}

addEventListener("popstate", (event) => {
  forget();
>>>>>>> page
  state = readState(location.search, images.get(event.state?.image) ?? null);
  typing = false;
  render();
});

function render() {
  document.body.classList.toggle("comparing", Boolean(state.lines));
<<<<<<< HEAD
  if (one("q").value !== state.q) one("q").value = state.q;
=======
  if (!timer && one("q").value !== state.q) one("q").value = state.q;
>>>>>>> page
  for (const name of FILTERS) if (field(name).value.trim() !== state[name]) field(name).value = state[name];
  one("compare").setAttribute("aria-pressed", String(Boolean(state.lines)));
  one("compare").hidden = languages.length < 2 && !state.lines;
  document.title = state.q ? `${state.q} – babelclip` : "babelclip";
  showGiven(state, (name) => change({ [name]: name === "image" ? null : "" }));
  chips();
  showCompare(state, languages);
  search();
  view();
}

const field = (name) => one("sieve").querySelector(`[name="${name}"]`);
const chips = () =>
  showLanguages(languages, state.language, state.q.trim() ? answer?.language ?? null : null, (tag) => {
    typing = false;
    change({ language: tag });
    if (!one("languages").contains(document.activeElement)) one("q").focus();
  });

// ---- searching ----

<<<<<<< HEAD
async function search(again = false) {
  const wish = state.lines ? null : wanted(state);
  const key = `${wish}#${[...images].find(([, file]) => file === state.image)?.[0] ?? ""}`;
  if (key === asked && !again) return;
=======
async function search() {
  const wish = state.lines ? null : wanted(state);
  const key = `${wish}#${[...images].find(([, file]) => file === state.image)?.[0] ?? ""}`;
  if (key === asked) return;
>>>>>>> page
  asked = key;
  controller?.abort();
  const mine = (controller = new AbortController());
  if (!wish) {
    settle(null);
    return;
  }
  const slow = setTimeout(() => !mine.signal.aborted && wait(true), SLOW);
  try {
    const found = await find(wish, state.image, mine.signal);
    if (!mine.signal.aborted) settle(found);
<<<<<<< HEAD
  } catch (problem) {
    if (!mine.signal.aborted && problem.kind) settle(null, problem);
    else if (!mine.signal.aborted) throw problem;
=======
  } catch (fault) {
    if (mine.signal.aborted) return;
    if (!fault.kind) throw fault;
    settle(null, fault);
>>>>>>> page
  } finally {
    clearTimeout(slow);
    if (controller === mine) wait(false);
  }
}

function wait(on) {
  one("wait").hidden = !on;
  one("results").setAttribute("aria-busy", String(on));
}

<<<<<<< HEAD
function settle(found, problem = null) {
  answer = found;
=======
function settle(found, fault = null) {
  answer = found;
  problem = fault;
  one("q").lang = found?.language?.tag ?? ""; // for its letters and for those who listen
>>>>>>> page
  if (!found) wait(false);
  if (found?.language && state.q.trim()) texts.set(found.language.tag, state.q.trim());
  if (problem) asked = "";
  shown = found?.results ?? [];
  fill(one("grid"), shown, open);
  one("more").hidden = !found || shown.length < state.k || state.k >= MOST || shown.length >= found.items;
  chips();
<<<<<<< HEAD
  say(problem);
  view();
}

/** The line that is read aloud, and the note where there are no pictures to show. */
function say(problem) {
  const status = one("status");
  status.textContent = answer && shown.length ? t("results", { count: number(shown.length), items: number(answer.items) }) : "";
  if (answer && shown.length) status.append(make("span", { class: "time", "aria-hidden": "true" }, ` · ${t("time", { ms: number(answer.milliseconds, 0) })}`));
  if (problem) note(...explained(problem));
  else if (state.lines || shown.length) note();
  else if ((answer ?? index)?.items === 0) note(t("emptyIndex"), t("emptyHint"), "babelclip index FOLDER");
  else if (answer) note(t("nothing"), t("nothingHint"), null, null, "status");
  else if (index) note(t("welcome", { items: number(index.items), count: number(languages.length) }), "", null, hints(), "welcome");
  else note();
}

function explained(problem) {
  const retry = make("button", { type: "button", class: "strong", onclick: () => start() }, t("retry"));
  if (problem.kind === "gone") return [t("gone"), t("goneHint"), "babelclip serve", retry, "alert"];
  if (problem.kind === "token") return [t("token"), [problem.message, t("tokenHint")].filter(Boolean).join("\n"), null, null, "alert"];
  return [explain(problem), "", null, retry, "alert"];
}

function note(title = "", text = "", code = null, more = null, kind = "") {
  const box = one("note");
  box.hidden = !title;
  box.className = `note ${kind}`;
  box.setAttribute("role", kind === "alert" ? "alert" : "note");
  box.replaceChildren(make("p", { class: "title", dir: "auto" }, title), text ? make("p", { class: "soft", dir: "auto" }, text) : "",
    code ? make("code", { dir: "ltr" }, code) : "", more ? make("div", {}, more) : "");
}

const hints = () =>
  make("ul", {}, ...[["look", "typeHint"], ["picture", "dropHint"], ["globe", "packHint"]].map(([sign, key]) =>
    make("li", {}, icon(sign), make("span", {}, t(key)))));
=======
  say();
  view();
  if (found && unready) start();
}

const say = () => tell({ problem, answer, index, languages, comparing: Boolean(state.lines), retry: start });
>>>>>>> page

// ---- the large view ----

function open(id, results = shown) {
  shown = results;
  change({ view: id });
}

function view() {
  const at = shown.findIndex((result) => result.id === state.view);
  if (at >= 0) showView(shown[at], { first: at === 0, last: at === shown.length - 1 });
  else if (!state.view) closeView();
}

prepareView({
  step: (way) => {
    const next = shown[shown.findIndex((result) => result.id === state.view) + way];
    if (next) change({ view: next.id }, { replace: true });
  },
  similar: (result) => {
    change({ k: PAGE, like: result.id, image: null, q: "", minus: "", language: "auto", lines: null, view: "" });
    scrollTo({ top: 0 });
    one("q").focus();
  },
  closed: () => {
    const was = state.view;
    if (!was) return; // another step of the history closed it
    if (history.state?.opened) history.back();
    else change({ view: "" }, { replace: true });
    if (!state.lines) focusCard(one("grid"), was);
  },
});

// ---- what people do ----

function typed(event) {
<<<<<<< HEAD
  if (event.isComposing) return; // letters that are still being put together
  clearTimeout(timer);
  timer = setTimeout(take, PAUSE);
}

function take() {
  clearTimeout(timer);
=======
  clearTimeout(timer);
  timer = setTimeout(take, event.isComposing ? COMPOSING : PAUSE);
}

function take() {
  forget();
>>>>>>> page
  if (one("q").value === state.q) return;
  change({ q: one("q").value }, { replace: typing });
  typing = true;
}

one("q").addEventListener("input", typed);
one("q").addEventListener("compositionend", typed);
one("q").addEventListener("blur", () => (take(), (typing = false)));
one("search").addEventListener("submit", (event) => {
  event.preventDefault();
  take();
  typing = false;
<<<<<<< HEAD
  if (!answer && !state.lines) search(true);
=======
  if (!asked) search(); // the last one failed
>>>>>>> page
});
for (const name of FILTERS) {
  const sift = () => {
    clearTimeout(sifting);
    if (field(name).value.trim() !== state[name]) change({ [name]: field(name).value.trim() });
  };
  field(name).addEventListener("change", sift);
  field(name).addEventListener("input", () => {
    clearTimeout(sifting);
    sifting = setTimeout(sift, 2 * PAUSE);
  });
}
one("reset").addEventListener("click", () => change(Object.fromEntries(FILTERS.map((name) => [name, ""]))));
one("filters").addEventListener("click", () => foldFilters(one("sieve").hidden));
function foldFilters(unfold) {
  one("sieve").hidden = !unfold;
  one("filters").setAttribute("aria-expanded", String(unfold));
}
one("more").addEventListener("click", () => change({ k: Math.min(MOST, state.k + PAGE) }, { replace: true }));
one("compare").addEventListener("click", () => {
  take();
  const back = { lines: null, q: state.lines?.[0].text ?? "" };
  change(state.lines ? back : { lines: firstLines(state, languages, answer?.language?.tag, texts) });
});
prepareCompare({
  now: () => ({ lines: state.lines, languages, texts }),
  change: (lines, keys = false) => {
    for (const line of lines) if (line.text.trim()) texts.set(line.tag, line.text.trim());
    change({ lines }, { replace: keys && typing });
    typing = keys;
  },
  open: (results, id) => open(id, results),
});
one("home").addEventListener("click", (event) => {
<<<<<<< HEAD
  event.preventDefault();
  change({ ...readState(""), lines: null });
=======
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change(readState(""));
>>>>>>> page
  one("q").focus();
});
one("grid").addEventListener("keydown", (event) => move(one("grid"), event, () => one("q").focus()));
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || isOpen()) return;
  const writing = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !writing) {
    event.preventDefault();
    const box = state.lines ? one("lines").querySelector("input") : one("q");
    box.focus();
    box.select();
  } else if (event.key === "ArrowDown" && event.target === one("q") && shown.length) {
    event.preventDefault();
    focusCard(one("grid"));
  }
});

welcomeFiles({
  picture: (image) => change({ image, like: "", lines: null, view: "", k: PAGE }),
  learnt: async () => {
    languages = await readLanguages();
    asked = "";
    render();
  },
});

// ---- settings, and the beginning ----

<<<<<<< HEAD
function showTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const button = iconButton(theme, t(`theme_${theme}`), () => {
    memory.set("theme", next === "auto" ? null : next);
    showTheme(next);
    one("theme").focus();
  }, { id: "theme" });
  one("theme").replaceWith(button);
}
const theme = () => (THEMES.includes(memory.get("theme")) ? memory.get("theme") : "auto");

one("interface").addEventListener("change", () => {
  chooseWords(one("interface").value);
  fill(one("grid"), shown, open, true);
  showTheme(theme());
  render();
  say(null);
=======
one("interface").addEventListener("change", () => {
  chooseWords(one("interface").value);
  fill(one("grid"), shown, open, true);
  showTheme();
  render();
  say();
>>>>>>> page
});

async function start() {
  try {
    [index, languages] = await Promise.all([health(), readLanguages()]);
<<<<<<< HEAD
    asked = "";
    render();
  } catch (problem) {
    if (!problem.kind) throw problem;
    note(...explained(problem));
=======
    [problem, unready, asked] = [null, false, ""];
    render();
  } catch (fault) {
    if (!fault.kind) throw fault;
    [problem, unready] = [fault, true];
    say();
>>>>>>> page
  }
}

await loadWords();
<<<<<<< HEAD
showTheme(theme());
foldFilters(FILTERS.some((name) => state[name]));
history.replaceState({ image: null, opened: false }, "", address(state)); // a token does not stay in the address
=======
showTheme();
foldFilters(FILTERS.some((name) => state[name]));
history.replaceState({ image: null, opened: false }, "", address(state)); // a token does not stay in the address
if (one("q").value && !state.q) typed({}); // before this script was there
>>>>>>> page
await start();
