// What do we believe the picture is? As in diffusion/process.py, parameterization.py, denoiser.py, guidance.py. A level is
// logsnr = log(alpha^2 / sigma^2): Infinity is clean, -Infinity pure noise. Numbers are 64-bit, pictures Float32Arrays.

/** (alpha, sigma) of a level: a noisy picture is x = alpha x0 + sigma eps. */
const PROCESSES = {
  vp: (level) => [Math.sqrt(1 / (1 + Math.exp(-level))), Math.sqrt(1 / (1 + Math.exp(level)))], // alpha^2 + sigma^2 = 1
  ve: (level) => [1, Math.exp(-level / 2)],
  flow: (level) => [1 / (1 + Math.exp(-level / 2)), 1 / (1 + Math.exp(level / 2))], // alpha + sigma = 1
};

/** (c_skip, c_out, c_in) of what a network predicts: x0 = c_skip x + c_out F(c_in x) (EDM, Karras et al. 2022, eq. 7). */
const PARAMETERIZATIONS = {
  eps: (alpha, sigma) => [1 / alpha, -sigma / alpha, 1 / Math.hypot(alpha, sigma)],
  x0: (alpha, sigma) => [0, 1, 1 / Math.hypot(alpha, sigma)],
  v: (alpha, sigma) => {
    const power = alpha ** 2 + sigma ** 2;
    return [alpha / power, -sigma / power, 1 / Math.sqrt(power)];
  },
  velocity: (alpha, sigma) => [1 / (alpha + sigma), -sigma / (alpha + sigma), 1],
  edm: (alpha, sigma, sigmaData) => {
    const power = sigma ** 2 + (sigmaData * alpha) ** 2;
    return [(sigmaData ** 2 * alpha) / power, (sigma * sigmaData) / Math.sqrt(power), 1 / Math.sqrt(power)];
  },
};

/** The time sigma / (alpha + sigma) of the straight flow: 1 is pure noise. */
const flowTime = (level) => 1 / (1 + Math.exp(level / 2));
const angle = (level) => Math.atan(Math.exp(-level / 2)); // atan2(sigma, alpha)

/** The fractional timestep of a level on a table of levels, interpolated in the angle. */
function timestep(table, level) {
  const angles = table.map(angle), here = angle(level);
  const first = angles.findIndex((value) => value >= here);
  const right = Math.min(Math.max(first < 0 ? table.length : first, 1), table.length - 1);
  const fraction = (here - angles[right - 1]) / (angles[right] - angles[right - 1]);
  return Math.min(Math.max(right - 1 + fraction, 0), table.length - 1);
}

/** What a network is told of a level. */
const TOLD = {
  timestep: (level, model) => timestep(model.table, level),
  time: (level) => 1000 * flowTime(level),
  sigma: (level) => -level / 8, // log(sigma / alpha) / 4
  flow: flowTime,
};

/** a x + b y + ... of pairs [a, x], rounded once. */
function mix(...pairs) {
  const total = new Float64Array(pairs[0][1].length);
  for (const [a, x] of pairs) for (let i = 0; i < total.length; i++) total[i] += a * x[i];
  return Float32Array.from(total);
}

/** The belief about x0 of a network: (x, level, asked, to) -> x0. asked: {label, text, negative}. to: the level until which the answer
 * is held, which flow maps are told. */
function denoiser(model, network) {
  const process = PROCESSES[model.process], told = TOLD[model.told];
  return (x, level, asked, to) => {
    const [skip, out, into] = PARAMETERIZATIONS[model.parameterization](...process(level), model.sigma_data);
    if (!(Math.abs(skip) < 22026)) throw new Error("a network that predicts eps knows nothing at pure noise: another spacing");
    const span = model.span ? model.span * (flowTime(level) - flowTime(to ?? level)) : undefined;
    return mix([skip, x], [out, network(mix([into, x]), told(level, model), { ...asked, span })]);
  };
}

/** Classifier-free guidance (Ho & Salimans 2022): x0 = away + g (asked - away), away from nothing or a negative text, for low < sigma / alpha <= high only
 * (Kynkäänniemi et al. 2024), rescaled by a share (Lin et al. 2024, section 3.4), clipped to the range of pictures. */
function guided(model, denoise, settings, asked) {
  const away = { label: model.classes.length || undefined, text: asked.negative ?? [START] };
  const same = (asked.label ?? away.label) === away.label && (asked.text ?? away.text).join() === away.text.join();
  const [low, high] = settings.guidance_interval ?? [0, null];
  const limit = (x0) => (settings.clip ? x0.map((value) => Math.min(Math.max(value, -1), 1)) : x0);
  return ({ x, level, to }) => {
    const belief = denoise(x, level, asked, to), sigma = Math.exp(-level / 2);
    const on = settings.guidance !== 1 && !same && low < sigma && sigma <= (high ?? Infinity);
    if (!on) return limit(belief);
    const other = denoise(x, level, away, to);
    const steered = mix([1 - settings.guidance, other], [settings.guidance, belief]);
    if (!settings.guidance_rescale) return limit(steered);
    // What the network returns is rescaled, up to a factor: F is x0 - c_skip x.
    const [skip] = PARAMETERIZATIONS[model.parameterization](...PROCESSES[model.process](level), model.sigma_data);
    const inflated = mix([1, steered], [-skip, x]), wanted = mix([1, belief], [-skip, x]);
    const factor = deviation(inflated) > 0 ? deviation(wanted) / deviation(inflated) : 1;
    return limit(mix([1 + settings.guidance_rescale * (factor - 1), inflated], [skip, x]));
  };
}

function deviation(numbers) {
  const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length;
  return Math.sqrt(numbers.reduce((total, value) => total + (value - mean) ** 2, 0) / numbers.length);
}
