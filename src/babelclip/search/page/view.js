// The large view of one picture or moment.

import { original, thumbnail } from "./api.js";
import { iconButton, make, one } from "./dom.js";
import { clock, date, number, t } from "./words.js";

const dialog = one("view");
let actions = {};

/** `closed` is called whenever the view closes, `step` with -1 or 1, `similar` with the result. */
export function prepareView(given) {
  actions = given;
  dialog.addEventListener("close", () => {
    dialog.replaceChildren(); // stops a video
    actions.closed();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.target.localName === "video" || event.altKey || event.ctrlKey || event.metaKey) return;
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      actions.step(event.key === forward ? 1 : -1);
    }
  });
}

export const isOpen = () => dialog.open;
export const closeView = () => dialog.open && dialog.close();

export function showView(result, { first, last }) {
  const { step, similar } = actions;
  const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.role : null;
  dialog.replaceChildren(
    make("div", { class: "stage" }, media(result)),
    make("div", { class: "facts" },
      make("h2", { id: "view-name" }, make("bdi", { dir: "ltr" }, result.name)),
      facts(result),
      make("div", { class: "actions" },
        make("button", { type: "button", class: "strong", "data-role": "similar", onclick: () => similar(result) },
          t("similar")),
        make("a", { class: "quiet", href: original(result.id), target: "_blank", rel: "noopener", "data-role": "open" },
          t("openFile")),
        navigator.clipboard ? copyButton(result.path) : null)),
    make("div", { class: "steps" },
      iconButton("back", t("previous"), () => step(-1), { "data-role": "previous", disabled: first, class: "round turn" }),
      iconButton("on", t("next"), () => step(1), { "data-role": "next", disabled: last, class: "round turn" }),
      iconButton("cross", t("close"), () => dialog.close(), { "data-role": "close" })),
  );
  if (!dialog.open) dialog.showModal();
  const again = focused && dialog.querySelector(`[data-role="${focused}"]:not(:disabled)`);
  (again || dialog.querySelector('[data-role="similar"]')).focus();
}

function media(result) {
  const fallback = (event) => {
    const small = make("img", { src: thumbnail(result.id), alt: result.name });
    event.target.replaceWith(small, make("p", { class: "soft" }, t("notShown")));
  };
  if (result.kind === "video") {
    const moment = result.moment ?? 0;
    const video = make("video", {
      src: original(result.id), poster: thumbnail(result.id), controls: true, preload: "metadata", playsinline: true,
      onerror: fallback, onloadedmetadata: () => (video.currentTime = moment),
    });
    video.muted = true;
    return video;
  }
  const picture = make("img", { alt: result.name, src: original(result.id), onerror: fallback });
  if (result.width > 0 && result.height > 0) {
    picture.width = result.width; // the place is kept before the file is there
    picture.height = result.height;
  }
  return picture;
}

function facts(result) {
  const rows = [[t("path"), make("bdi", { class: "path", dir: "ltr" }, result.path)]];
  if (result.width > 0) rows.push([t("size"), make("bdi", {}, `${number(result.width)} × ${number(result.height)}`)]);
  if (result.taken) rows.push([t("date"), date(result.taken)]);
  if (result.moment !== null) {
    const whole = result.seconds ? ` / ${clock(result.seconds)}` : "";
    rows.push([t("moment"), make("bdi", {}, clock(result.moment) + whole)]);
  }
  rows.push([t("score"), number(result.score, 3)]);
  return make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function copyButton(path) {
  const button = make("button", { type: "button", class: "quiet", "data-role": "copy" }, t("copyPath"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(path);
    button.textContent = t("copied");
  });
  return button;
}
