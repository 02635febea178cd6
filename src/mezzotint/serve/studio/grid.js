// Any two settings against each other: every cell is a job of its own, all are sent together, and share network calls.

import { Board, tile } from "./board.js";
import { $, h } from "./dom.js";
import * as edit from "./edit.js";
import { desk, hasWords, wish } from "./form.js";
import { parse, write } from "./json.js";

const MAX_CELLS = 400, MAX_RANGE = 100n, PREVIEWS = 3; // of a cell: more would take the time of the network

const known = (text) => text, classes = () => desk.model.classes;
function seed(text) {
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  throw new Error(`A seed is a whole number, not “${text}”.`);
}
function number(text) {
  if (Number.isFinite(Number(text))) return Number(text);
  throw new Error(`“${text}” is no number.`);
}

/** What may be varied, by its key in a request: name, values from words, values to try first, and whether the model has it. */
export const AXES = {
  sampler: ["Sampler", known, () => [...new Set([desk.model.defaults.sampler, "ddim", "euler_a", ...desk.model.samplers])].slice(0, 3).join(", ")],
  steps: ["Steps", number, () => "5, 10, 20"],
  guidance: ["Guidance", number, () => "1, 2, 4", () => desk.model.guidable],
  class: ["Class", known, () => classes().slice(0, 3).join(", "), () => classes().length],
  seed: ["Seed", seed, () => "0, 1, 2"],
  prompt: ["Words", known, () => desk.model.examples.slice(0, 3).join(", "), hasWords],
  strength: ["Strength", number, () => "0.2, 0.5, 0.8", edit.ready],
};

/** Values between commas; 3-6 is 3, 4, 5, 6. Throws an Error in words. */
export function valuesIn(text, value) {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  if (!parts.length) throw new Error("An axis needs at least one value.");
  return parts.flatMap((part) => {
    const range = /^(\d{1,19})-(\d{1,19})$/.exec(part);
    if (!range) return [value(part)];
    const [low, high] = range.slice(1).map(BigInt);
    if (high < low || high - low >= MAX_RANGE) throw new Error(`“${part}” is no range of at most ${MAX_RANGE} numbers.`);
    return Array.from({ length: Number(high - low) + 1 }, (_, i) => value(String(low + BigInt(i))));
  });
}

export const board = new Board("grid", table);
let shown = null; // the model that the values are for

export function build() {
  $("grid").append(board.root);
  for (const id of ["x", "y"]) $(`${id}-axis`).onchange = () => first(id);
  addEventListener("model", axes);
}

const first = (id) => ($(`${id}-values`).value = AXES[$(`${id}-axis`).value][2]());

/** The axes that the model has. */
export function axes() {
  if (!desk.model) return;
  for (const [id, usual, other] of [["x", "sampler", "sampler"], ["y", "steps", "seed"]]) {
    const field = $(`${id}-axis`), before = field.value, there = Object.keys(AXES).filter((key) => AXES[key][3]?.() ?? true);
    field.replaceChildren(...there.map((key) => new Option(AXES[key][0], key)));
    field.value = [before, usual, other].find((key) => there.includes(key));
    if (field.value !== before || shown !== desk.model.name) first(id);
  }
  shown = desk.model.name;
}

/** Sends all cells. Throws an Error in words where the axes are no good. */
export async function make() {
  const [x, y] = ["x", "y"].map((id) => $(`${id}-axis`).value);
  if (x === y) throw new Error("Choose two different settings.");
  const [across, down] = ["x", "y"].map((id) => valuesIn($(`${id}-values`).value, AXES[$(`${id}-axis`).value][1]));
  if (across.length * down.length > MAX_CELLS) throw new Error(`A grid has at most ${MAX_CELLS} pictures.`);
  const base = wish(), strength = x === "strength" || y === "strength";
  if (desk.model.kind !== "points") base.n = 1;
  const cells = down.flatMap((below) => across.map((beside) => {
    const body = { ...base, [x]: beside, [y]: below };
    if (body.sampler !== base.sampler) for (const name of ["eta", "churn", "spacing"]) delete body[name];
    return { ...body, preview_every: Math.ceil(body.steps / PREVIEWS) };
  }));
  sessionStorage.setItem("grid", write({ x, y, across, down }));
  return board.make(await Promise.all(cells.map((body) => (strength ? edit.request(body) : { path: "v1/jobs", body }))));
}

/** A table for the cells of this tab's grid; null where it is that of another tab. */
function table() {
  const plan = parse(sessionStorage.getItem("grid") ?? "null");
  if (plan?.across.length * plan?.down.length !== board.count) return null;
  const { x, y, across, down } = plan, head = (text, scope) => h("th", { scope, textContent: String(text) });
  const rows = down.map((below) => h("tr", {}, head(below, "row"),
    ...across.map((beside) => h("td", {}, tile(`${AXES[x][0]} ${beside}, ${AXES[y][0]} ${below}`)))));
  const corner = h("td", { className: "soft", textContent: `${AXES[y][0]} ↓ ${AXES[x][0]} →` });
  return h("table", { className: "cells" }, h("tr", {}, corner, ...across.map((beside) => head(beside, "col"))), ...rows);
}
