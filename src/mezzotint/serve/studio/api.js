// The server, by its public API: requests with the token, errors in words, and streams of events.

import { $, pause } from "./dom.js";
import { parse, write } from "./json.js";

const BASE = new URL("../", import.meta.url); // wherever a proxy may have put it
export const AGAIN = 1000; // ms between tries to reach the server

/** An error of the server. status: 0 where it does not answer at all; wait: seconds after which it may. */
const refusal = (status, words, wait) => Object.assign(new Error(words), { status, wait });

let asking = null; // the dialog for the token, while it is open

/** Asks for the token until somebody gives one. */
const token = (wrong) =>
  (asking ??= new Promise((resume) => {
    const dialog = $("token-dialog");
    $("token-said").textContent = wrong ? "That is not the token of this server; ask who started it." : "";
    $("token").value = "";
    dialog.onclose = () => {
      if (!$("token").value) return dialog.showModal();
      sessionStorage.setItem("token", $("token").value.replace(/[^\x21-\x7e]/g, "")); // what a header may hold
      asking = null;
      resume();
    };
    dialog.showModal();
  }));

export const OVER = ["done", "failed", "cancelled", "gone"]; // events that are the last of a job

/** A response of status 2xx. Throws a refusal, or an AbortError of `signal`. */
export async function ask(path, { body, signal, method } = {}) {
  for (;;) {
    const used = sessionStorage.getItem("token");
    const headers = used ? { Authorization: `Bearer ${used}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(new URL(path, BASE), { method: method ?? (body ? "POST" : "GET"), headers, body: body && write(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw refusal(0, "The server does not answer. Is mezzotint serve still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await token(used !== null && used === sessionStorage.getItem("token"));
      continue;
    }
    let detail = `${answer.status} ${answer.statusText}`;
    try {
      detail = (await answer.json()).detail ?? detail;
    } catch {} // a proxy's page
    throw refusal(answer.status, detail, Number(answer.headers.get("Retry-After")));
  }
}

export const read = async (path, options) => parse(await (await ask(path, options)).text());

/** Starts a job, and waits where the server has no room now. said: told why it waits, in words. Returns the job's state. */
export async function start(path, body, { signal, said }) {
  for (;;) {
    try {
      return await read(path, { body, signal });
    } catch (error) {
      if (![429, 503].includes(error.status)) throw error;
      const whose = error.status === 429 ? "You have reached your limit of requests in progress" : "The server is full";
      for (let left = error.wait || 5; left > 0; left--) {
        said(`${whose}; it is asked again in ${left} s.`);
        await pause(1000);
        signal.throwIfAborted();
      }
    }
  }
}

/** Events of a text/event-stream, from chunks of bytes (an async iterable): {name, data}. */
export async function* eventsIn(chunks) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      const data = [];
      for (const line of block.split(/\r?\n/)) {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "event") name = value;
        else if (field === "data") data.push(value);
      }
      if (data.length) yield { name, data: parse(data.join("\n")) };
    }
  }
}

async function* chunksOf(body) {
  const reader = body.getReader();
  try {
    for (let part; !(part = await reader.read()).done; ) yield part.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Follows jobs until all are over: told(name, data) of each event, by one stream, which is opened again where it breaks.
 * lost: told true when it broke, false when it is there again. */
export async function follow(ids, told, { signal, lost }) {
  const open = new Set(ids);
  while (open.size) {
    try {
      const query = new URLSearchParams([...open].map((id) => ["job", id]));
      const { body } = await ask(`v1/events?${query}`, { signal });
      lost(false);
      for await (const { name, data } of eventsIn(chunksOf(body))) {
        if (OVER.includes(name)) open.delete(data.id);
        await told(name, data);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (![0, 429, 502, 503, 504, undefined].includes(error.status)) throw error;
    }
    if (open.size) {
      lost(true);
      await pause(AGAIN);
      signal.throwIfAborted();
    }
  }
}

export const cancel = (id) => ask(`v1/jobs/${id}/cancel`, { method: "POST" }).catch(() => {});
