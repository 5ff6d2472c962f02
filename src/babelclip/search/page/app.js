// babelclip's page: one state, written into the address; everything that is seen follows from it.

import { find, health, languages as readLanguages } from "./api.js";
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

const images = new Map(); // pictures searched by; the history knows their numbers
const texts = new Map(); // the last words typed in each language, for comparing
let state = readState(location.search);
let languages = [];
let index = null; // what /health said
let answer = null; // of the search that is shown
let shown = []; // the results that the large view walks through
let problem = null; // what went wrong with it
let unready = false; // the languages could not be read
let asked = ""; // the search that runs or is shown
let controller = null;
let typing = false; // further keys replace the history's entry
let timer = 0; // of the words that are being typed and not yet searched for; 0 where there are none
let sifting = 0;

// ---- state and address ----

function change(patch, { replace = false } = {}) {
  if (timer && !("q" in patch)) patch = { q: one("q").value, ...patch };
  forget();
  if (patch.image) images.set(images.size + 1, patch.image);
  const before = state;
  const start = "view" in patch || "k" in patch ? {} : { k: PAGE, view: "" }; // of another search
  state = { ...state, ...start, ...patch };
  const image = [...images].find(([, file]) => file === state.image)?.[0] ?? null;
  const entry = { image, opened: !replace && Boolean(state.view) && !before.view };
  if (replace) history.replaceState({ ...history.state, image }, "", address(state));
  else history.pushState(entry, "", address(state));
  render();
}

function forget() {
  clearTimeout(timer);
  timer = 0;
}

addEventListener("popstate", (event) => {
  forget();
  state = readState(location.search, images.get(event.state?.image) ?? null);
  typing = false;
  render();
});

function render() {
  document.body.classList.toggle("comparing", Boolean(state.lines));
  if (!timer && one("q").value !== state.q) one("q").value = state.q;
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

async function search() {
  const wish = state.lines ? null : wanted(state);
  const key = `${wish}#${[...images].find(([, file]) => file === state.image)?.[0] ?? ""}`;
  if (key === asked) return;
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
  } catch (fault) {
    if (mine.signal.aborted) return;
    if (!fault.kind) throw fault;
    settle(null, fault);
  } finally {
    clearTimeout(slow);
    if (controller === mine) wait(false);
  }
}

function wait(on) {
  one("wait").hidden = !on;
  one("results").setAttribute("aria-busy", String(on));
}

function settle(found, fault = null) {
  answer = found;
  problem = fault;
  one("q").lang = found?.language?.tag ?? ""; // for its letters and for those who listen
  if (!found) wait(false);
  if (found?.language && state.q.trim()) texts.set(found.language.tag, state.q.trim());
  if (problem) asked = "";
  shown = found?.results ?? [];
  fill(one("grid"), shown, open);
  one("more").hidden = !found || shown.length < state.k || state.k >= MOST || shown.length >= found.items;
  chips();
  say();
  view();
  if (found && unready) start();
}

const say = () => tell({ problem, answer, index, languages, comparing: Boolean(state.lines), retry: start });

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
  clearTimeout(timer);
  timer = setTimeout(take, event.isComposing ? COMPOSING : PAUSE);
}

function take() {
  forget();
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
  if (!asked) search(); // the last one failed
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
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change(readState(""));
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

one("interface").addEventListener("change", () => {
  chooseWords(one("interface").value);
  fill(one("grid"), shown, open, true);
  showTheme();
  render();
  say();
});

async function start() {
  try {
    [index, languages] = await Promise.all([health(), readLanguages()]);
    [problem, unready, asked] = [null, false, ""];
    render();
  } catch (fault) {
    if (!fault.kind) throw fault;
    [problem, unready] = [fault, true];
    say();
  }
}

await loadWords();
showTheme();
foldFilters(FILTERS.some((name) => state[name]));
history.replaceState({ image: null, opened: false }, "", address(state)); // a token does not stay in the address
if (one("q").value && !state.q) typed({}); // before this script was there
await start();
