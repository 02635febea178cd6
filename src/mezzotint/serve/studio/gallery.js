// The history: every picture that was made here.

import { $, h, plural } from "./dom.js";
import { all, remove } from "./history.js";
import { finish, showIn, tile } from "./board.js";

const PAGE = 120; // pictures at once
let shown = PAGE, urls = [], drawing = 0;

export const matches = (entry, text, starred) =>
  (!starred || entry.star) &&
  text.toLowerCase().split(/\s+/).filter(Boolean).every((word) =>
    Object.entries(entry.settings ?? {}).some(([name, value]) => `${name} ${[value].flat().join(" ")}`.toLowerCase().includes(word)));

export function build() {
  const again = () => ((shown = PAGE), draw());
  $("history").append(
    h("div", { class: "row" },
      h("label", { class: "grow" }, "Search ", h("input", { id: "search", type: "search", placeholder: "model, class, sampler, words", oninput: again })),
      h("label", { class: "check" }, h("input", { id: "starred", type: "checkbox", onchange: again }), " Starred"),
      h("button", { type: "button", textContent: "Delete all without a star", onclick: clear })),
    h("p", { class: "soft" }, "Kept in this browser alone. Drop a picture of Mezzotint anywhere on the page, and its settings return. ",
      h("label", { class: "file" }, "Open a picture", h("input", { id: "open", type: "file", accept: "image/*" }))),
    h("p", { id: "kept", role: "status", class: "soft" }),
    h("div", { id: "gallery", class: "tiles small" }),
    h("button", { type: "button", id: "more", textContent: "More", hidden: true, onclick: () => ((shown += PAGE), draw()) }));
  addEventListener("history", () => !$("history").hidden && draw());
}

async function clear() {
  const entries = (await all()).filter(({ star }) => !star);
  if (entries.length && confirm(`Delete ${plural(entries.length, "picture")} of the history for good?`)) await remove(entries);
}

export async function draw() {
  const number = ++drawing;
  let entries;
  try {
    entries = await all();
  } catch (error) {
    $("kept").textContent = `This browser keeps no history here (${error.message}).`;
    return;
  }
  if (number !== drawing) return;
  const found = entries.filter((entry) => matches(entry, $("search").value, $("starred").checked));
  $("kept").textContent = !entries.length ? "Nothing was made yet." : found.length === entries.length ? plural(found.length, "picture") : `${found.length} of ${plural(entries.length, "picture")}`;
  const some = found.slice(0, shown);
  const old = urls;
  urls = some.map(({ bytes }) => URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
  $("gallery").replaceChildren(...some.map((entry, i) => {
    const button = tile(i + 1);
    showIn(button, urls[i]);
    finish(button, found, i);
    button.classList.toggle("star", Boolean(entry.star));
    return button;
  }));
  old.forEach(URL.revokeObjectURL);
  $("more").hidden = found.length <= shown;
}
