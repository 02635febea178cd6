// Runs the page's own scripts outside of a browser: jobs come as JavaScript on standard input, answers go out as JSON.
// node helpers_node.js SCRIPT... < jobs
"use strict";
const fs = require("fs");
const vm = require("vm");

for (const path of process.argv.slice(2)) vm.runInThisContext(fs.readFileSync(path, "utf8"), path);

const done = {
  noise: ({ seed, step, draw, size }) => ({
    bits: Array.from(vm.runInThisContext("randomBits")(seed, step, draw, size), String),
    normal: Array.from(vm.runInThisContext("gaussian")(seed, step, draw, size)),
  }),
  levels: ({ settings, table }) => settings.map((each) => vm.runInThisContext("stopsOf")(each, table).map(String)),
  network: ({ model, x, told, given }) => {
    const { NETWORKS, Weights } = vm.runInThisContext("({ NETWORKS, Weights })");
    const network = NETWORKS[model.network.kind](model, new Weights(model.tensors, model.weights));
    return Array.from(network(Float32Array.from(x), told, given));
  },
  decode: ({ model, raw, code }) => {
    const { Weights, decoded, codecOf } = vm.runInThisContext("({ Weights, decoded, codecOf })");
    const weights = new Weights(model.tensors, model.weights);
    return {
      decoded: Array.from(decoded(model, weights, Float32Array.from(raw))),
      preview: Array.from(codecOf(model, weights).preview(Float32Array.from(code))),
    };
  },
  picture: ({ model, order }) => {
    const { NETWORKS, Weights, walk, codecOf, written, png } = vm.runInThisContext(
      "({ NETWORKS, Weights, walk, codecOf, written, png })",
    );
    const began = process.cpuUsage();
    const weights = new Weights(model.tensors, model.weights);
    const network = NETWORKS[model.network.kind](model, weights);
    const states = Array.from(walk(model, network, order));
    const { x0, calls } = states.at(-1);
    const bytes = codecOf(model, weights).decode(x0);
    const text = written(model, order);
    const file = Buffer.from(png(bytes, model.shape, text)).toString("base64");
    const seconds = process.cpuUsage(began).user / 1e6;
    return { bytes: Array.from(bytes), steps: states.length, calls, file, seconds, written: JSON.parse(text) };
  },
};

const jobs = vm.runInThisContext(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(jobs.map((job) => done[job.do](job))));
