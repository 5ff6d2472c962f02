// Chips: which language the words are in, and what else narrows the search.

import { thumbnail } from "./api.js";
import { icon, make, one } from "./dom.js";
import { languageName, percent, t } from "./words.js";

const FEW = 10;
let unfolded = false;

/** How the server came by the language, in words. */
function said(language, name) {
  const values = { language: name(language.tag, language.name), percent: percent(language.probability ?? 0) };
  if (language.reason === "no letters") return t("noLetters", values);
  if (language.reason === "unknown letters") return t("unknownLetters", values);
  if (language.reason === "alone") return t("alone", values);
  return t("detected", values);
}

/** Show the languages; `found` is what the server said of the words, or null; `choose` is called with a tag or auto. */
export function showLanguages(languages, chosen, found, choose) {
  const root = one("languages");
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.tag : null;
  const name = (tag, other) => languageName(tag, languages.find((one) => one.tag === tag)?.name ?? other ?? tag);
  const guess = chosen === "auto" && found && !found.given ? found : null;
  const auto = make("button", { type: "button", class: "chip auto", "data-tag": "auto", "aria-pressed": String(chosen === "auto"),
    onclick: () => choose("auto") }, make("b", {}, t("auto")));
  if (guess) auto.append(make("span", { class: "said" }, said(guess, name)));
  const chips = [auto];
  if (guess?.second && guess.reason === "spelling")
    chips.push(make("button", { type: "button", class: "chip or", "data-tag": "or", onclick: () => choose(guess.second) },
      t("maybe", { language: name(guess.second) })));
  const important = (one) => one.tag === chosen || one.tag === guess?.tag;
  const shown = unfolded || languages.length <= FEW + 2 ? languages
    : languages.filter((one, place) => place < FEW || important(one));
  for (const language of shown) chips.push(languageChip(language, chosen, guess, choose));
  if (chosen !== "auto" && !languages.some((one) => one.tag === chosen))
    chips.push(languageChip({ tag: chosen, own_name: name(chosen), name: chosen }, chosen, guess, choose));
  if (languages.length > FEW + 2)
    chips.push(make("button", { type: "button", class: "chip fold", "data-tag": "fold", "aria-expanded": String(unfolded),
      onclick: () => {
        unfolded = !unfolded;
        showLanguages(languages, chosen, found, choose);
      } }, unfolded ? t("fewer") : t("others", { count: languages.length - shown.length })));
  root.replaceChildren(...chips);
  if (focused) (root.querySelector(`[data-tag="${CSS.escape(focused)}"]`) ?? root.querySelector('[aria-pressed="true"]') ?? auto).focus();
}

function languageChip(language, chosen, guess, choose) {
  const name = languageName(language.tag, language.name);
  return make("button", {
    type: "button", class: language.tag === guess?.tag ? "chip found" : "chip", "data-tag": language.tag,
    "aria-pressed": String(language.tag === chosen), title: name === language.own_name ? null : name,
    onclick: () => choose(language.tag),
  }, make("bdi", { lang: language.tag }, language.own_name));
}

let shownImage = null;
let imageAddress = "";

/** Show what narrows the search beside the words; `drop` is called with the fields to empty. */
export function showGiven(state, drop) {
  if (state.image !== shownImage) {
    if (imageAddress) URL.revokeObjectURL(imageAddress);
    imageAddress = state.image ? URL.createObjectURL(state.image) : "";
    shownImage = state.image;
  }
  const chips = [];
  if (state.image) chips.push(given("image", state.image.name || t("picture"), drop, imageAddress));
  if (state.like) chips.push(given("like", t("likeThis"), drop, thumbnail(state.like)));
  if (state.minus) chips.push(given("minus", `${t("minus")}: ${state.minus}`, drop));
  if (state.kind) chips.push(given("kind", t(state.kind === "video" ? "videos" : "pictures"), drop));
  if (state.folder) chips.push(given("folder", state.folder, drop));
  if (state.since) chips.push(given("since", `${t("since")} ${state.since}`, drop));
  if (state.before) chips.push(given("before", `${t("before")} ${state.before}`, drop));
  one("given").hidden = chips.length === 0;
  one("given").replaceChildren(...chips);
}

function given(field, text, drop, image = null) {
  return make("span", { class: "chip removable", "data-field": field },
    image && make("img", { src: image, alt: "", draggable: "false" }),
    make("bdi", {}, text),
    make("button", { type: "button", "aria-label": t("removeThis", { what: text }), title: t("remove"), onclick: () => drop(field) },
      icon("cross")));
}
