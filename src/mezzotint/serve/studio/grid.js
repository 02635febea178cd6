// Any two settings against each other: every cell is a job of its own, all are sent together, and share network calls.

import { bytesOf, cancel, follow, read, start } from "./api.js";
import { finish, previewEvery, showIn, tile, told } from "./board.js";
import { $, h, plural } from "./dom.js";
import * as edit from "./edit.js";
import { desk, hasWords, wish } from "./form.js";
import { entryOf, keep } from "./history.js";
import { write, parse } from "./json.js";

const WAVE = 24; // jobs under way at once, fewer than a client may have
const MAX_CELLS = 400, MAX_SEED = 2n ** 63n - 1n;

const number = (name, low, high, whole) => (text) => {
  const value = Number(text);
  if (text === "" || !(value >= low && value <= high) || (whole && !Number.isInteger(value))) throw new Error(`${name}: “${text}” is no ${whole ? "whole " : ""}number from ${low} to ${high}`);
  return value;
};
const known = (name, names) => (text) => {
  if (!names().includes(text)) throw new Error(`there is no ${name} “${text}”; there are ${names().join(", ")}`);
  return text;
};
const seed = (text) => {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > MAX_SEED) throw new Error(`a seed is a whole number from 0 to 2^63 - 1, not “${text}”`);
  return BigInt(text);
};

/** What may be varied: the key of a body, what it is called, its values in words, and first ones to try. */
export const AXES = {
  sampler: { name: "Sampler", value: (text) => known("sampler", () => desk.samplers.map((one) => one.name))(text), first: () => "dpmpp_2m, ddim, euler_a" },
  steps: { name: "Steps", value: (text) => number("steps", 1, desk.limits.max_steps, true)(text), first: () => "5, 10, 20" },
  guidance: { name: "Guidance", value: number("guidance", 0, 100), first: () => "1, 2, 4", there: () => desk.model.guidable },
  class: { name: "Class", value: (text) => known("class", () => desk.model.classes)(text), first: () => desk.model.classes.slice(0, 3).join(", "), there: () => desk.model.classes.length > 0 },
  seed: { name: "Seed", value: seed, first: () => "0, 1, 2" },
  prompt: { name: "Words", value: (text) => text, first: () => desk.model.examples.slice(0, 3).join(", "), there: hasWords },
  strength: { name: "Strength", value: number("strength", 0, 1), first: () => "0.2, 0.5, 0.8", there: () => edit.ready() },
};

/** Values between commas; 3-6 and 3..6 are whole numbers in turn. */
export function valuesIn(text, value) {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  const found = parts.flatMap((part) => {
    const range = /^(\d+)\s*(?:-|\.\.)\s*(\d+)$/.exec(part);
    if (!range) return [value(part)];
    const [low, high] = [BigInt(range[1]), BigInt(range[2])];
    if (high < low || high - low >= 100n) throw new Error(`“${part}” is no range of at most 100 numbers`);
    return Array.from({ length: Number(high - low) + 1 }, (_, i) => value(String(low + BigInt(i))));
  });
  if (!found.length) throw new Error("an axis needs a value at least");
  return found;
}

let control = null, ids = [];
export const busy = () => control !== null;

export function build() {
  const axis = (id, name) => h("div", { class: "row" },
    h("label", {}, `${name} `, h("select", { id: `${id}-axis`, onchange: () => first(id) })),
    h("label", { class: "grow" }, "Values ", h("input", { id: `${id}-values`, autocomplete: "off" })));
  $("grid").append(
    h("p", { class: "soft" }, "Two settings against each other; everything else is as on the left. Values stand between commas, 0-8 is a range."),
    h("div", { class: "axes" }, axis("x", "Across"), axis("y", "Down")),
    h("progress", { id: "grid-bar", max: 1, value: 0, hidden: true, "aria-label": "progress" }),
    h("p", { id: "grid-said", role: "status", class: "said" }),
    h("div", { id: "cells", class: "scroll", tabIndex: 0, role: "group", "aria-label": "Grid of pictures" }));
  addEventListener("model", axes);
}

const say = (text, bad = false) => {
  $("grid-said").textContent = text;
  $("grid-said").classList.toggle("bad", bad);
};

/** The axes that the model has. */
export function axes() {
  ["x", "y"].forEach((id, i) => {
    const there = Object.entries(AXES).filter(([, axis]) => axis.there?.() ?? true), before = $(`${id}-axis`).value;
    $(`${id}-axis`).replaceChildren(...there.map(([key, { name }]) => new Option(name, key)));
    const wanted = before || ["sampler", "steps"][i];
    $(`${id}-axis`).value = there.some(([key]) => key === wanted) ? wanted : ["sampler", "seed"][i];
    if ($(`${id}-axis`).value !== before) first(id);
  });
}

const first = (id) => ($(`${id}-values`).value = AXES[$(`${id}-axis`).value].first());

/** Sends all cells. */
export async function make() {
  const [x, y] = ["x", "y"].map((id) => $(`${id}-axis`).value);
  if (x === y) throw new Error("Choose two different settings.");
  const [across, down] = ["x", "y"].map((id) => valuesIn($(`${id}-values`).value, AXES[$(`${id}-axis`).value].value));
  if (across.length * down.length > MAX_CELLS) throw new Error(`A grid has at most ${MAX_CELLS} cells.`);
  const base = { ...wish(), n: desk.model.kind === "points" ? wish().n : 1 };
  const cells = down.flatMap((below) => across.map((beside) => {
    const body = { ...base, [x]: beside, [y]: below };
    if (body.sampler !== base.sampler) ["eta", "churn", "spacing"].forEach((name) => delete body[name]);
    return { ...body, preview_every: previewEvery(body.steps) };
  }));
  const asked = x === "strength" || y === "strength" ? cells.map((body) => edit.request(body)) : cells.map((body) => ({ path: "v1/jobs", body }));
  stop();
  const plan = { x, y, across, down, ids: [] };
  await run(plan, await Promise.all(asked));
}

/** Goes on with the grid that this tab had when it was loaded again. */
export function attach() {
  const plan = parse(sessionStorage.getItem("grid") ?? "null");
  if (plan) run(plan, null).catch((error) => say(error.message, true));
}

async function run(plan, asked) {
  control = new AbortController();
  const mine = control, { signal } = control, count = plan.across.length * plan.down.length, tiles = table(plan);
  const entries = new Array(count), over = new Set(), began = performance.now();
  const failed = [];
  dispatchEvent(new Event("busy"));
  $("grid-bar").hidden = false;
  const steps = new Array(count).fill(0);
  const tell = () => {
    $("grid-bar").value = steps.reduce((sum, share) => sum + share, 0) / count;
    say(`${over.size} of ${plural(count, "picture")}.`);
  };
  const event = async (i, name, state) => {
    if (mine !== control) return;
    if (state.previews) showIn(tiles[i], `data:image/png;base64,${state.previews[0]}`);
    if (state.steps) steps[i] = state.step / state.steps;
    if (name === "done") {
      const bytes = await bytesOf(`v1/jobs/${state.id}/result`);
      entries[i] = entryOf(bytes, `${state.id}/0`, Date.now() + (count - i) / 1000);
      showIn(tiles[i], URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
      const there = entries.filter(Boolean);
      finish(tiles[i], there, there.indexOf(entries[i]));
      tiles[i].onclick = () => import("./view.js").then(({ look }) => look(entries.filter(Boolean), entries.filter(Boolean).indexOf(entries[i])));
    } else if (["failed", "gone", "cancelled"].includes(name)) fail(i, name === "failed" ? state.detail : name === "gone" ? "the server has forgotten it" : "cancelled");
    if (["done", "failed", "gone", "cancelled"].includes(name)) over.add(i);
    tell();
  };
  const fail = (i, words) => {
    failed.push(words);
    steps[i] = 1;
    tiles[i].classList.add("failed");
    tiles[i].title = words;
    tiles[i].setAttribute("aria-label", words);
    tiles[i].append("×");
  };
  try {
    for (let begin = 0; begin < count; begin += WAVE) {
      const wave = Array.from({ length: Math.min(WAVE, count - begin) }, (_, k) => begin + k);
      if (asked) {
        await Promise.all(wave.map(async (i) => {
          try {
            plan.ids[i] = (await start(asked[i].path, asked[i].body, { signal, said: say })).id;
          } catch (error) {
            if (error.name === "AbortError" || !error.status) throw error;
            fail(i, error.message);
            over.add(i);
          }
        }));
        sessionStorage.setItem("grid", write(plan));
        history.replaceState(null, "", "#grid?job=these");
      }
      const there = wave.filter((i) => plan.ids[i]);
      ids = there.map((i) => plan.ids[i]);
      wave.filter((i) => !plan.ids[i] && !over.has(i)).forEach((i) => (fail(i, "not sent"), over.add(i)));
      await follow(ids, (name, state) => event(plan.ids.indexOf(state.id), name, state), {
        signal,
        lost: (gone) => gone && say("The connection is lost. The jobs go on at the server; trying to reach it."),
      });
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(1), words = [...new Set(failed)];
    document.body.dataset.gridSeconds = seconds;
    say(failed.length ? `${count - failed.length} of ${count} pictures in ${seconds} s. Not made: ${words.join("; ")}.` : `${plural(count, "picture")} in ${seconds} s.`, failed.length > 0);
  } catch (error) {
    if (mine === control) say(error.name === "AbortError" ? "Cancelled." : error.message, error.name !== "AbortError");
  } finally {
    keep(entries.filter(Boolean)).catch(() => {});
    if (mine === control) {
      control = null;
      ids = [];
      $("grid-bar").hidden = true;
    }
    dispatchEvent(new Event("busy"));
  }
}

/** An empty table for the cells; returns their tiles, row by row. */
function table({ x, y, across, down }) {
  const { shape, kind } = desk.model;
  const head = (text, scope) => h("th", { scope, textContent: String(text) });
  const tiles = [];
  const rows = down.map((below) => h("tr", {}, head(below, "row"), ...across.map((beside) => {
    const button = tile(`${AXES[x].name} ${beside}, ${AXES[y].name} ${below}`);
    tiles.push(button);
    return h("td", {}, button);
  })));
  const corner = h("td", { class: "corner", textContent: `${AXES[y].name} ↓ ${AXES[x].name} →` });
  const whole = h("table", { class: "cells" }, h("thead", {}, h("tr", {}, corner, ...across.map((beside) => head(beside, "col")))), h("tbody", {}, ...rows));
  whole.style.setProperty("--aspect", kind === "points" ? "1" : `${shape.at(-1)} / ${shape.at(-2)}`);
  $("cells").replaceChildren(whole);
  return tiles;
}

export function stop(cancelled = false) {
  if (!control) return;
  if (cancelled) ids.forEach(cancel);
  if (cancelled) say("Cancelled.");
  control.abort();
  control = null;
  $("grid-bar").hidden = true;
}
