// Files that come to the page: dropped, pasted or chosen. Pictures are searched by, packs are installed.

import { install } from "./api.js";
import { iconButton, make, one } from "./dom.js";
import { languageName, t } from "./words.js";

const isPack = (file) => file.name.toLowerCase().endsWith(".babelpack");
// Some systems do not know the types of some pictures.
const isPicture = (file) => file.type.startsWith("image/") || /\.(avif|bmp|heic|heif|jxl|tiff?|webp)$/i.test(file.name);

/** `picture` is called with a file, `learnt` with the answer to an installation. */
export function welcomeFiles({ picture, learnt }) {
  const take = async (files) => {
    const image = files.find((file) => !isPack(file) && isPicture(file));
    if (image) picture(image);
    for (const file of files) if (!isPack(file) && !isPicture(file)) toast(t("unusable", { name: file.name }), "bad");
    for (const file of files) if (isPack(file)) await teach(file, learnt);
  };
  let depth = 0; // dragenter and dragleave come for every element on the way
  const lift = (step) => {
    depth = step === 0 ? 0 : Math.max(0, depth + step);
    one("veil").hidden = depth === 0;
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => carriesFiles(event) && lift(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && lift(-1));
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // else the browser would leave the page
    lift(0);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const words = event.clipboardData?.types.includes("text/plain") && event.target.matches?.("input");
    if (!files.length || words) return;
    event.preventDefault();
    take(files);
  });
  one("choose").addEventListener("click", () => one("file").click());
  one("file").addEventListener("change", () => {
    const files = [...one("file").files];
    one("file").value = "";
    take(files);
  });
}

async function teach(file, learnt) {
  const message = toast(t("installing", { name: file.name }), "busy");
  const bar = make("progress", { max: "1", "aria-label": t("installing", { name: file.name }) });
  message.firstChild.append(bar);
  try {
    const answer = await install(file, (share) => {
      if (share < 1) bar.value = share;
      else bar.removeAttribute("value"); // all is sent; the server is checking it
    });
    message.remove();
    const name = languageName(answer.tag, answer.name);
    toast(t("installed", { language: name }), "good");
    await learnt(answer);
  } catch (problem) {
    message.remove();
    toast(`${file.name}: ${explain(problem)}`, "bad");
  }
}

/** The server's own words, or ours where it has none. */
export function explain(problem) {
  if (problem.message) return problem.message;
  if (problem.kind === "gone") return t("gone");
  if (problem.kind === "token") return t("token");
  return t("failed", { status: problem.status });
}

/** A message at the foot of the page. Good news go by themselves, bad news stay. */
export function toast(text, kind) {
  const message = make("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : null },
    make("div", {}, make("p", { dir: "auto" }, text)),
    kind === "busy" ? null : iconButton("cross", t("close"), () => message.remove()));
  one("toasts").append(message);
  if (kind === "good") setTimeout(() => message.remove(), 8000);
  return message;
}
