// The pictures that were found: cards, and how arrow keys go from one to the next.

import { thumbnail } from "./api.js";
import { icon, make } from "./dom.js";
import { clock, number, t } from "./words.js";

const NARROWEST = 0.66;
const WIDEST = 1.9;

/** What a result is called for who cannot see it. */
function described(result) {
  const parts = [result.name, t("scored", { score: number(result.score, 2) })];
  if (result.moment !== null) parts.push(t("atMoment", { moment: clock(result.moment) }));
  return parts.join(", ");
}

/** A card; its box has the picture's shape before the picture is there. */
export function card(result, open) {
  const { width, height } = result;
  const ratio = width > 0 && height > 0 ? Math.min(WIDEST, Math.max(NARROWEST, width / height)) : 1;
  const picture = make("img", {
    src: thumbnail(result.id), alt: "", loading: "lazy", decoding: "async", draggable: "false",
    onload: () => box.classList.add("here"), onerror: () => box.classList.add("missing"),
  });
  const box = make("span", { class: "box" }, picture);
  if (result.kind === "video")
    box.append(make("span", { class: "moment" }, icon("play"), result.moment === null ? "" : clock(result.moment)));
  const button = make(
    "button",
    {
      type: "button", class: "card", tabindex: "-1", "data-id": result.id, title: result.path,
      "aria-label": described(result), onclick: () => open(result.id),
    },
    box,
    make("span", { class: "under" },
      make("bdi", { class: "name", dir: "ltr" }, result.name), make("span", { class: "score" }, number(result.score, 2))),
  );
  const item = make("li", {}, button);
  item.style.setProperty("--ratio", ratio.toFixed(4));
  return item;
}

/** Show results; cards of pictures that are there already are kept, so that nothing blinks. */
export function fill(grid, results, open, fresh = false) {
  const kept = new Map();
  if (!fresh) for (const item of grid.children) kept.set(item.firstChild.dataset.id, item);
  const items = results.map((result) => {
    const item = kept.get(result.id);
    if (!item) return card(result, open);
    item.querySelector(".score").textContent = number(result.score, 2);
    item.firstChild.setAttribute("aria-label", described(result));
    item.firstChild.tabIndex = -1;
    return item;
  });
  grid.replaceChildren(...items);
  if (items.length) items[0].firstChild.tabIndex = 0;
}

export function focusCard(grid, id) {
  const cards = [...grid.querySelectorAll(".card")];
  const chosen = cards.find((one) => one.dataset.id === id) ?? cards[0];
  if (!chosen) return;
  for (const one of cards) one.tabIndex = one === chosen ? 0 : -1;
  chosen.focus();
}

/** Go where an arrow key points; true where it led somewhere. `leave` is called at the upper edge. */
export function move(grid, event, leave) {
  const cards = [...grid.querySelectorAll(".card")];
  const at = cards.indexOf(document.activeElement);
  if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  const forward = getComputedStyle(grid).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  const backward = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
  const goals = {
    [forward]: () => cards[at + 1], [backward]: () => cards[at - 1], Home: () => cards[0], End: () => cards.at(-1),
    ArrowDown: () => beyond(cards, cards[at], 1), ArrowUp: () => beyond(cards, cards[at], -1),
  };
  if (!(event.key in goals)) return;
  event.preventDefault();
  const goal = goals[event.key]();
  if (goal) focusCard(grid, goal.dataset.id);
  else if (event.key === "ArrowUp") leave();
}

/** The card nearest to the middle of one, in the next row downwards (1) or upwards (-1). */
function beyond(cards, from, way) {
  const mine = from.getBoundingClientRect();
  const middle = (box) => (box.left + box.right) / 2;
  let best = null;
  for (const other of cards) {
    const box = other.getBoundingClientRect();
    const rows = Math.round(way * (box.top - mine.top));
    if (rows < 2) continue;
    const aside = Math.abs(middle(box) - middle(mine));
    if (!best || rows < best.rows - 1 || (rows <= best.rows + 1 && aside < best.aside)) best = { other, rows, aside };
  }
  return best?.other;
}
