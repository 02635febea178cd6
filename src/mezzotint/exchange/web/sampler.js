// How does a belief move a picture, and where does it stop? As in diffusion/schedule.py, routes.py, hop.py, solvers.py and
// sampler.py: samplers ask, the engine answers. A solver is a generator over one interval that yields {x, level, to}, is sent x0,
// and returns [x at t, x0 for preview, history for the next interval].

const LOWEST = -12; // below this level x says nothing, and every solver takes the first-order step

// --- grids ---------------------------------------------------------------------------------------------------

/** `count` numbers from 1 down to 0, from both ends as there. */
function descending(count) {
  const gap = -1 / (count - 1);
  return Array.from({ length: count }, (_, i) => (i < Math.floor(count / 2) ? 1 + gap * i : -gap * (count - 1 - i)));
}

/** To the nearest whole number, halves to the even one. */
function rounded(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

/** The entries of a table of `total` levels that a sampler visits, descending. */
function timesteps(spacing, steps, total) {
  if (steps > total) throw new Error(`steps must be at most ${total} here`);
  const i = Array.from({ length: steps }, (_, k) => k);
  switch (spacing) {
    case "leading":
      return i.map((k) => k * Math.floor(total / steps)).reverse(); // DDPM, DDIM
    case "trailing":
      return i.map((k) => rounded(total - (k * total) / steps) - 1); // Lin et al. 2024
    default:
      return i.map((k) => rounded(total - 1 - (k * (total - 1)) / Math.max(steps - 1, 1))); // linspace
  }
}

/** Where does a sampler stop? steps + 1 levels from noise to clean. table: the levels of a discrete schedule, or null. */
function grid(spacing, steps, table) {
  const u = steps > 1 ? descending(steps) : [1];
  const ends = table
    ? [table[0], table[table.length - 1]].map((level) => Math.max(level, LOWEST))
    : [-2 * Math.log(0.002), -2 * Math.log(80)];
  switch (spacing) {
    case "karras": { // sigma^(1/7) linear (Karras et al. 2022, eq. 5)
      const [low, high] = ends.map((level) => Math.exp(-level / 2) ** (1 / 7));
      return [...u.map((at) => -14 * Math.log(low + at * (high - low))), Infinity];
    }
    case "logsnr":
      return [...u.map((at) => ends[0] + at * (ends[1] - ends[0])), Infinity];
    case "time": // 2 log((1 - t) / t), t uniform
      return descending(steps + 1).map((t) => 2 * (Math.log(1 - t) - Math.log(t)));
    default:
      return [...timesteps(spacing, steps, table.length).map((entry) => table[entry]), Infinity];
  }
}

// --- routes: a grid may go up, towards noise, at no call ------------------------------------------------------

/** Further down than t, then up to t with fresh noise: DDPM's posterior for eta = 1, DDIM's sigma(eta) (eq. 16). */
function ancestral(stops, eta = 1) {
  const down = (s, t) => t - Math.log(1 - eta ** 2 + eta ** 2 * Math.exp(s - t));
  return stops.flatMap((t, i) => (i === 0 || t === Infinity ? [t] : [down(stops[i - 1], t), t]));
}

/** Before every step up to sigma (1 + gamma), gamma = min(amount / N, sqrt(2) - 1) (EDM, algorithm 2). */
function churn(stops, amount) {
  const gamma = Math.min(amount / (stops.length - 1), Math.SQRT2 - 1);
  return stops.flatMap((s, i) => (i === stops.length - 1 ? [s] : [s, s - 2 * Math.log1p(gamma)]));
}

/** Down to clean and up again at every stop (multistep consistency sampling, Song et al. 2023). */
function throughClean(stops) {
  return stops.flatMap((t, i) => (i === 0 || i === stops.length - 1 ? [t] : [Infinity, t]));
}

/** The gain of fresh noise that turns DDPM's variance into beta_t, its "fixed large" choice: sigma_s / sigma_t. */
function fixedLarge(stops) {
  let begin = stops[0];
  return stops.slice(1).map((t, i) => {
    if (t >= stops[i]) return 1;
    const gain = PROCESSES.vp(begin)[1] / PROCESSES.vp(t)[1];
    begin = t;
    return gain;
  });
}

// --- hops and solvers ----------------------------------------------------------------------------------------

/** One interval as the solvers see it: `to` is DDIM's step (Song et al. 2021, eq. 12),
 *  x_t = alpha_t x0 + sigma_t (sqrt(1 - share^2) eps + share z),  eps = (x - alpha_s x0) / sigma_s. */
class Hop {
  constructor(process, eta, noise) {
    Object.assign(this, { process, eta, noise, draws: 0 });
  }

  /** The length of a step: -log of the share of x that is kept. */
  length(s, t) {
    return ((1 + this.eta) * (t - s)) / 2;
  }

  eps(x, x0, s) {
    const [alpha, sigma] = this.process(s);
    return mix([1 / sigma, x], [-alpha / sigma, x0]);
  }

  x0(x, eps, s) {
    const [alpha, sigma] = this.process(s);
    return mix([1 / alpha, x], [-sigma / alpha, eps]);
  }

  to(x, x0, s, t, share = this.eta ? Math.sqrt(-Math.expm1(-this.eta * (t - s))) : 0) {
    if (t === Infinity) return x0;
    const [alpha, sigma] = this.process(t);
    const parts = [[alpha, x0], [sigma * Math.sqrt(1 - share ** 2), this.eps(x, x0, s)]];
    if (share) parts.push([sigma * share, this.noise(this.draws++)]);
    return mix(...parts);
  }
}

/** DDIM (Song et al. 2021), Euler's method, DPM-Solver-1. */
function* firstOrder(hop, x, s, t) {
  const x0 = yield { x, level: s, to: t };
  return [hop.to(x, x0, s, t), x0, null];
}

/** The trapezoidal rule in sigma / alpha (EDM, algorithm 1), said as one belief that is held. */
function* heun(hop, x, s, t) {
  const x0 = yield { x, level: s };
  const ahead = yield { x: hop.to(x, x0, s, t), level: t };
  const half = Math.exp((t - s) / 2) / 2;
  return [hop.to(x, mix([1 - half, x0], [half, ahead]), s, t), x0, null];
}

/** The same in the time of the flow. */
function* heunFlow(hop, x, s, t) {
  const x0 = yield { x, level: s };
  const ahead = yield { x: hop.to(x, x0, s, t), level: t };
  const half = flowTime(s) / flowTime(t) / 2;
  return [hop.to(x, mix([1 - half, x0], [half, ahead]), s, t), x0, null];
}

/** DPM-Solver-2 (Lu et al. 2022, algorithm 4): the noise of the middle, for the whole step. */
function* dpm2(hop, x, s, t) {
  const m = (s + t) / 2;
  const x0 = yield { x, level: s, to: m };
  const mid = hop.to(x, x0, s, m);
  const there = yield { x: mid, level: m };
  return [hop.to(x, hop.x0(x, hop.eps(mid, there, m), s), s, t), x0, null];
}

/** DPM-Solver++(2S) (Lu et al. 2022, algorithm 1): the picture of the middle, for the whole step. */
function* dpmpp2s(hop, x, s, t) {
  const m = (s + t) / 2;
  const x0 = yield { x, level: s, to: m };
  const there = yield { x: hop.to(x, x0, s, m), level: m };
  return [hop.to(x, there, s, t), x0, null];
}

/** The same with ancestral noise inside both of its moves (k-diffusion's dpmpp_sde). */
function* dpmppSde(hop, x, s, t) {
  const m = (s + t) / 2;
  const x0 = yield { x, level: s, to: m };
  const there = yield { x: hop.to(x, x0, s, m, Math.sqrt(-Math.expm1(s - m))), level: m };
  return [hop.to(x, there, s, t, Math.sqrt(-Math.expm1(s - t))), x0, null];
}

/** DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 extrapolated to the middle of the step from the last two. */
function* dpmpp2m(hop, x, s, t, history) {
  const x0 = yield { x, level: s };
  let belief = x0;
  if (history) {
    const [last, r] = history;
    const share = (t - s) / (s - r) / 2;
    belief = mix([1 + share, x0], [-share, last]);
  }
  return [hop.to(x, belief, s, t), x0, [x0, s]];
}

/** DPM-Solver++(3M): slope and curvature of x0 from the last three answers. curvature: 2 is of order three, 1 what public
 * code does. */
const dpmpp3m = (curvature) => function* (hop, x, s, t, history) {
  const x0 = yield { x, level: s };
  const h = (t - s) / 2, length = hop.length(s, t), past = history ?? [];
  const levels = [s, ...past.map(([, level]) => level)], answers = [x0, ...past.map(([old]) => old)];
  const gaps = levels.slice(1).map((level, i) => (levels[i] - level) / 2 / h);
  const slopes = gaps.map((gap, i) => mix([1 / gap, answers[i]], [-1 / gap, answers[i + 1]]));
  let belief = x0;
  if (slopes.length) {
    const kept = -Math.expm1(-length); // 1 - e^-H
    const phi2 = 1 - kept / length, phi3 = phi2 / length - 0.5;
    belief = mix([1, x0], [phi2 / kept, slopes[0]]);
    if (slopes.length === 2) {
      const bend = 1 / (gaps[0] + gaps[1]);
      const weight = (phi2 * gaps[0] - curvature * phi3) / kept;
      belief = mix([1, belief], [weight * bend, slopes[0]], [-weight * bend, slopes[1]]);
    }
  }
  return [hop.to(x, belief, s, t), x0, [[x0, s], ...past.slice(0, 1)]];
};

/** Nodes and weights of Gauss-Legendre quadrature on [0, 1]: the roots of a Legendre polynomial, by Newton's method. */
function gaussLegendre(count) {
  return Array.from({ length: count }, (_, i) => {
    let z = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5)), slope = 0;
    for (let pass = 0; pass < 8; pass++) {
      let [before, here] = [1, z];
      for (let n = 2; n <= count; n++) [before, here] = [here, ((2 * n - 1) * z * here - (n - 1) * before) / n];
      slope = (count * (z * here - before)) / (z * z - 1);
      z -= here / slope;
    }
    return [(1 - z) / 2, 1 / ((1 - z * z) * slope * slope)];
  });
}

const GAUSS = gaussLegendre(16);

/** Adams-Bashforth: the polynomial through the last noises, integrated over the step, in sigma / alpha (k-diffusion's lms) or
 * in its log (DEIS, Zhang & Chen 2023). */
const adamsBashforth = (order, log) => function* (hop, x, s, t, history) {
  const x0 = yield { x, level: s };
  const nodes = [[hop.eps(x, x0, s), s], ...(history ?? []).slice(0, order - 1)];
  const place = log ? (z) => z : Math.exp;
  const start = -s / 2, end = -t / 2;
  const eps = mix(...nodes.map(([noise, level], k) => {
    let weight = 0; // the mean of this node's Lagrange polynomial, by quadrature in log(sigma / alpha)
    GAUSS.forEach(([node, share]) => {
      const at = start + (end - start) * node;
      const measure = (share * Math.exp(at) * (end - start)) / (Math.exp(end) - Math.exp(start));
      weight += nodes.reduce((value, [, other], j) => {
        return j === k ? value : (value * (place(at) - place(-other / 2))) / (place(-level / 2) - place(-other / 2));
      }, measure);
    });
    return [weight, noise];
  }));
  return [hop.to(x, hop.x0(x, eps, s), s, t), x0, nodes];
};

/** UniPC (Zhao et al. 2023, algorithms 5 and 6, B2): the answer at s also corrects the step that led there. */
const unipc = (order) => function* (hop, x, s, t, history) {
  const x0 = yield { x, level: s };
  let past = [];
  if (history) {
    const [before, nodes] = history;
    x = hop.to(before, unified([...nodes, [x0, s]], s), nodes[0][1], s);
    past = nodes;
  }
  past = [[x0, s], ...past.slice(0, order - 1)];
  return [hop.to(x, unified(past, t), s, t), x0, [x, past]];
};

/** The belief that holds from the first node's level to t: x0 and a mix of divided differences whose weights solve
 * sum_k rho_k r_k^(i-1) = i! h phi_(i+1)(-h) / (1 - e^-h); for one difference the paper takes one half. */
function unified([[x0, s], ...others], t) {
  if (!others.length) return x0;
  const h = (t - s) / 2;
  const r = others.map(([, level]) => (level - s) / 2 / h);
  let rho = [0.5];
  if (others.length > 1) {
    let phi = Math.expm1(-h) / -h, factorial = 1;
    const right = others.map((_, i) => {
      factorial *= i + 1;
      phi = (phi - 1 / factorial) / -h;
      return (phi * factorial * h) / -Math.expm1(-h);
    });
    rho = solved(right.map((_, i) => r.map((value) => value ** i)), right);
  }
  const first = 1 - rho.reduce((total, weight, k) => total + weight / r[k], 0);
  return mix([first, x0], ...others.map(([there], k) => [rho[k] / r[k], there]));
}

/** The solution of a small system of linear equations, by elimination with pivots. */
function solved(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]), n = rows.length;
  for (let i = 0; i < n; i++) {
    const pivot = rows.slice(i).reduce((best, row) => (Math.abs(row[i]) > Math.abs(best[i]) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(i, 0, pivot);
    for (const row of rows) {
      if (row === pivot) continue;
      const factor = row[i] / pivot[i];
      for (let j = 0; j <= n; j++) row[j] -= factor * pivot[j];
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}

/** The table of samplers. route: how its grid differs from the plain one; inside: eta of the noise inside its steps; gain: of
 * the fresh noise of intervals that go up. */
const SAMPLERS = {
  ddpm: { solver: firstOrder, route: ancestral },
  ddpm_large: { solver: firstOrder, route: ancestral, gain: fixedLarge },
  ddim: { solver: firstOrder },
  euler_a: { solver: firstOrder, route: ancestral },
  heun: { solver: heun },
  dpmpp_2m: { solver: dpmpp2m },
  dpmpp_2m_sde: { solver: dpmpp2m, inside: 1 },
  unipc: { solver: unipc(2) },
  consistency: { solver: firstOrder, route: throughClean },
  euler: { solver: firstOrder },
  dpm2: { solver: dpm2 },
  dpm2_a: { solver: dpm2, route: ancestral },
  dpmpp_2s: { solver: dpmpp2s },
  dpmpp_2s_a: { solver: dpmpp2s, route: ancestral },
  dpmpp_sde: { solver: dpmppSde },
  dpmpp_3m: { solver: dpmpp3m(2) },
  dpmpp_3m_published: { solver: dpmpp3m(1) },
  dpmpp_3m_sde: { solver: dpmpp3m(1), inside: 1 },
  unipc_3: { solver: unipc(3) },
  lms: { solver: adamsBashforth(4, false) },
  deis: { solver: adamsBashforth(3, true) },
  heun_flow: { solver: heunFlow },
};

/** The stops of a sampler for settings {sampler, steps, spacing, eta, churn}. */
function stopsOf(settings, table) {
  const plain = grid(settings.spacing, settings.steps, table);
  const stops = (SAMPLERS[settings.sampler].route ?? ((levels) => levels))(plain);
  if (settings.eta) return ancestral(stops, settings.eta);
  return settings.churn ? churn(stops, settings.churn) : stops;
}

/** One picture over its whole grid: yields questions {x, level, to}, to be sent x0, and after every step {done, x, x0}. An
 * interval towards noise is x_t = k x_s + sigma_t sqrt(1 - exp(t - s)) z with k = alpha_t / alpha_s, at no call. */
function* sample(model, settings, seed) {
  const process = PROCESSES[model.process], row = SAMPLERS[settings.sampler];
  const size = model.code.reduce((a, b) => a * b, 1);
  const stops = stopsOf(settings, model.table), gains = row.gain?.(stops);
  const [alpha, sigma] = process(stops[0]);
  let x = mix([Math.hypot(alpha, sigma), gaussian(seed, 0, 0, size)]);
  let x0 = x, history = null, done = 0, began = stops[0];
  for (let i = 0; i + 1 < stops.length; i++) {
    const s = stops[i], t = stops[i + 1];
    if (t > s) {
      if (done) yield { done, x, x0 }; // only now: fresh noise may have followed that step
      const solver = s < LOWEST || t === Infinity ? firstOrder : row.solver;
      const hop = new Hop(process, row.inside ?? 0, (draw) => gaussian(seed, i + 1, draw, size));
      [x, x0, history] = yield* solver(hop, x, s, t, history);
      done += 1;
      began = s;
    } else if (t < s) {
      const [alphaThere, sigmaThere] = process(t);
      const fresh = (gains?.[i] ?? 1) * sigmaThere * Math.sqrt(-Math.expm1(t - s));
      x = mix([alphaThere / process(s)[0], x], [fresh, gaussian(seed, i + 1, 0, size)]);
      if (t <= began) history = null; // a restart: the past belongs to the path that was left
    }
  }
  yield { done, x, x0 };
}
