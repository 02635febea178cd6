// Any two settings against each other: every cell is a job of its own, all are sent together, and share network calls.

import { bytesOf, cancel, follow, OVER, start } from "./api.js";
import { aspectOf, finish, LOST, previewEvery, showIn, tile } from "./board.js";
import { $, h, plural } from "./dom.js";
import * as edit from "./edit.js";
import { desk, hasWords, MAX_SEED, wish } from "./form.js";
import { entryOf, keep } from "./history.js";
import { parse, write } from "./json.js";

const WAVE = 24; // jobs under way at once, fewer than a client may have
const MAX_CELLS = 400, MAX_RANGE = 100n;

const number = (low, high, whole) => (text) => {
  const value = Number(text), most = high ?? desk.limits.max_steps;
  if (value >= low && value <= most && (!whole || Number.isInteger(value))) return value;
  throw new Error(`“${text}” is no ${whole ? "whole " : ""}number from ${low} to ${most}.`);
};
const known = (names) => (text) => {
  if (names().includes(text)) return text;
  throw new Error(`There is no “${text}”; there are ${names().join(", ")}.`);
};
const seed = (text) => {
  if (/^\d{1,19}$/.test(text) && BigInt(text) <= MAX_SEED) return BigInt(text);
  throw new Error(`A seed is a whole number from 0 to 2^63 - 1, not “${text}”.`);
};
const samplers = () => desk.samplers.map(({ name }) => name), classes = () => desk.model.classes;

/** What may be varied, by its key in a request: name, values from words, values to try first, and whether the model has it. */
export const AXES = {
  sampler: ["Sampler", known(samplers), () => "dpmpp_2m, ddim, euler_a"],
  steps: ["Steps", number(1, null, true), () => "5, 10, 20"],
  guidance: ["Guidance", number(0, 100), () => "1, 2, 4", () => desk.model.guidable],
  class: ["Class", known(classes), () => classes().slice(0, 3).join(", "), () => classes().length],
  seed: ["Seed", seed, () => "0, 1, 2"],
  prompt: ["Words", (text) => text, () => desk.model.examples.slice(0, 3).join(", "), hasWords],
  strength: ["Strength", number(0, 1), () => "0.2, 0.5, 0.8", edit.ready],
};

/** Values between commas; 3-6 is 3, 4, 5, 6. Throws an Error in words. */
export function valuesIn(text, value) {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  if (!parts.length) throw new Error("An axis needs a value at least.");
  return parts.flatMap((part) => {
    const range = /^(\d{1,19})-(\d{1,19})$/.exec(part);
    if (!range) return [value(part)];
    const [low, high] = range.slice(1).map(BigInt);
    if (high < low || high - low >= MAX_RANGE) throw new Error(`“${part}” is no range of at most ${MAX_RANGE} numbers.`);
    return Array.from({ length: Number(high - low) + 1 }, (_, i) => value(String(low + BigInt(i))));
  });
}

let control = null, ids = [];
export const busy = () => control !== null;

export function build() {
  for (const id of ["x", "y"]) $(`${id}-axis`).onchange = () => first(id);
  addEventListener("model", axes);
}

const first = (id) => ($(`${id}-values`).value = AXES[$(`${id}-axis`).value][2]());

function say(text, bad = false) {
  $("grid-said").textContent = text;
  $("grid-said").classList.toggle("bad", bad);
}

/** The axes that the model has. */
export function axes() {
  if (!desk.model) return;
  for (const [id, usual, other] of [["x", "sampler", "sampler"], ["y", "steps", "seed"]]) {
    const field = $(`${id}-axis`), before = field.value || usual, there = Object.keys(AXES).filter((key) => AXES[key][3]?.() ?? true);
    const had = field.value;
    field.replaceChildren(...there.map((key) => new Option(AXES[key][0], key)));
    field.value = there.includes(before) ? before : other;
    if (field.value !== had || field.value === "class") first(id);
  }
}

/** Sends all cells. Throws an Error in words where the axes are no good. */
export async function make() {
  const [x, y] = ["x", "y"].map((id) => $(`${id}-axis`).value);
  if (x === y) throw new Error("Choose two different settings.");
  const [across, down] = ["x", "y"].map((id) => valuesIn($(`${id}-values`).value, AXES[$(`${id}-axis`).value][1]));
  if (across.length * down.length > MAX_CELLS) throw new Error(`A grid has at most ${MAX_CELLS} pictures.`);
  const base = wish();
  if (desk.model.kind !== "points") base.n = 1;
  const cells = down.flatMap((below) => across.map((beside) => {
    const body = { ...base, [x]: beside, [y]: below };
    if (body.sampler !== base.sampler) for (const name of ["eta", "churn", "spacing"]) delete body[name];
    return { ...body, preview_every: previewEvery(body.steps) };
  }));
  const edits = x === "strength" || y === "strength";
  const asked = await Promise.all(cells.map((body) => (edits ? edit.request(body) : { path: "v1/jobs", body, files: {} })));
  await run({ x, y, across, down, ids: [] }, asked);
}

/** Goes on with the grid that this tab had when it was loaded again. */
export function attach() {
  const plan = parse(sessionStorage.getItem("grid") ?? "null");
  if (plan) run(plan, null);
}

async function run(plan, asked) {
  stop();
  const mine = (control = new AbortController()), { signal } = mine, began = performance.now();
  const tiles = table(plan), count = tiles.length, shares = new Array(count).fill(0), entries = new Array(count);
  const over = new Set(), faults = new Set();
  const there = () => entries.filter(Boolean);
  const tell = () => {
    $("grid-bar").value = shares.reduce((sum, share) => sum + share, 0) / count;
    say(`${over.size} of ${plural(count, "picture")}.`);
  };
  const fail = (i, words) => {
    over.add(i);
    faults.add(words);
    shares[i] = 1;
    tiles[i].classList.add("failed");
    tiles[i].title = words;
    tiles[i].setAttribute("aria-label", words);
  };
  const event = async (name, state) => {
    const i = plan.ids.indexOf(state.id);
    if (state.previews) showIn(tiles[i], state.previews[0]);
    if (state.steps) shares[i] = state.step / state.steps;
    if (name === "done") {
      entries[i] = entryOf(await bytesOf(`v1/jobs/${state.id}/result`), `${state.id}/0`, Date.now() + (count - i) / 1000);
      if (asked) edit.remember([entries[i]], asked[i].files);
      finish(tiles[i], () => there(), entries[i]);
      over.add(i);
    } else if (OVER.includes(name)) fail(i, { failed: state.detail, gone: "the server has forgotten it" }[name] ?? name);
    if (mine === control) tell();
  };
  dispatchEvent(new Event("busy"));
  $("grid-bar").hidden = false;
  tell();
  try {
    for (let begin = 0; begin < count; begin += WAVE) {
      const wave = Array.from({ length: Math.min(WAVE, count - begin) }, (_, k) => begin + k);
      if (asked) {
        await Promise.all(wave.map(async (i) => {
          try {
            plan.ids[i] = (await start(asked[i].path, asked[i].body, { signal, said: say })).id;
          } catch (error) {
            if (!error.status) throw error;
            fail(i, error.message);
          }
        }));
        sessionStorage.setItem("grid", write(plan));
        history.replaceState(null, "", "#grid?job=these");
      }
      for (const i of wave) if (!plan.ids[i] && !over.has(i)) fail(i, "not asked for");
      ids = wave.map((i) => plan.ids[i]).filter(Boolean);
      await follow(ids, event, { signal, lost: (gone) => gone && say(LOST) });
    }
    const made = faults.size ? `${there().length} of ${count} pictures` : plural(count, "picture");
    const words = faults.size ? ` Not made: ${[...faults].join("; ")}.` : "";
    document.body.dataset.gridSeconds = ((performance.now() - began) / 1000).toFixed(3);
    say(`${made} in ${((performance.now() - began) / 1000).toFixed(1)} s.${words}`, faults.size > 0);
  } catch (error) {
    if (mine === control) say(error.message, true);
  } finally {
    keep(there()).catch(() => {});
    if (mine === control) stop();
  }
}

/** An empty table for the cells; returns their tiles, row by row. */
function table({ x, y, across, down }) {
  const head = (text, scope) => h("th", { scope, textContent: String(text) });
  const corner = h("td", { class: "soft", textContent: `${AXES[y][0]} ↓ ${AXES[x][0]} →` });
  const rows = down.map((below) => h("tr", {}, head(below, "row"),
    ...across.map((beside) => h("td", {}, tile(`${AXES[x][0]} ${beside}, ${AXES[y][0]} ${below}`)))));
  const whole = h("table", { class: "cells" }, h("thead", {}, h("tr", {}, corner, ...across.map((beside) => head(beside, "col")))), h("tbody", {}, ...rows));
  whole.style.setProperty("--aspect", aspectOf(desk.model));
  $("cells").replaceChildren(whole);
  return [...whole.querySelectorAll(".tile")];
}

export function stop(cancelled = false) {
  if (!control) return;
  if (cancelled) {
    ids.forEach(cancel);
    say("Cancelled.");
  }
  control.abort();
  control = null;
  ids = [];
  $("grid-bar").hidden = true;
  dispatchEvent(new Event("busy"));
}
