// The history: every picture that was made here.

import { finish, tile } from "./board.js";
import { $, plural } from "./dom.js";
import { all, remove } from "./history.js";

let drawing = 0;

export function build() {
  $("starred").onchange = draw;
  $("clear-history").onclick = async () => {
    const entries = (await all()).filter(({ star }) => !star);
    if (entries.length && confirm(`Delete ${plural(entries.length, "picture")} from the history for good?`)) await remove(entries);
  };
  addEventListener("history", () => !$("history").hidden && draw());
}

export async function draw() {
  const number = ++drawing;
  let entries;
  try {
    entries = (await all()).filter(({ star }) => star || !$("starred").checked);
  } catch (error) {
    $("kept").textContent = `This browser cannot keep a history here (${error.message}).`;
    return;
  }
  if (number !== drawing) return;
  $("kept").textContent = entries.length ? plural(entries.length, "picture") : "The history is empty.";
  $("gallery").replaceChildren(...entries.map((entry, i) => {
    const button = tile(`picture ${i + 1}`);
    finish(button, () => entries, entry);
    button.classList.toggle("star", entry.star);
    return button;
  }));
}
