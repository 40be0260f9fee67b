// Drives one headless Chromium through the agent's page for a test in another language: a command per line of
// standard input, an answer per line of standard output, both JSON. Nothing here waits for a fixed time: every
// command ends when the page shows what was asked for, or fails after LIMIT_MS.
//
// usage: node agent.mjs '{"chromium": "/usr/bin/chromium", "url": "http://localhost:1/agent",
//                         "microphone": "tone.wav", "profile": "an empty folder"}'
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const LIMIT_MS = 20_000;
const { chromium: executablePath, url, microphone, profile } = JSON.parse(process.argv[2]);
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 360, height: 740 },
  locale: 'en-GB',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`,
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(LIMIT_MS);
const complaints = [];
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));

const state = async (wanted) => {
  await page.waitForSelector(`#state[data-state="${wanted}"]`);
};

// The strongest frequency the browser plays, once it has been the same for half a second.
async function heard() {
  return page.evaluate(async (limit) => {
    const audio = new AudioContext();
    await audio.resume();
    const analyser = audio.createAnalyser();
    analyser.fftSize = 8192;
    analyser.smoothingTimeConstant = 0;
    audio.createMediaStreamSource(document.getElementById('remote').srcObject).connect(analyser);
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    const wave = new Float32Array(analyser.fftSize);
    const until = performance.now() + limit;
    let same = 0;
    let last = -1;
    let result;
    while (same < 6 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      analyser.getFloatFrequencyData(spectrum);
      analyser.getFloatTimeDomainData(wave);
      const rms = Math.sqrt(wave.reduce((sum, sample) => sum + sample * sample, 0) / wave.length);
      const bin = spectrum.reduce((best, level, index) => (level > spectrum[best] ? index : best), 0);
      same = bin === last && rms > 0.01 ? same + 1 : 0;
      last = bin;
      result = { hz: (bin * audio.sampleRate) / analyser.fftSize, rms };
    }
    await audio.close();
    if (same < 6) throw new Error(`no steady tone, last ${JSON.stringify(result)}`);
    return result;
  }, LIMIT_MS / 2);
}

const commands = {
  open: async () => {
    await page.goto(url);
    return { title: await page.title() };
  },
  connect: async ({ token }) => {
    await page.fill('#token', token);
    await page.uncheck('#processing'); // a steady tone is what noise reduction removes
    const begun = Date.now();
    await page.click('#connect');
    await state('connected');
    return { ms: Date.now() - begun };
  },
  refused: async ({ token }) => {
    await page.fill('#token', token);
    await page.click('#connect');
    await page.waitForSelector('#problem:not([hidden])');
    return { problem: await page.textContent('#problem') };
  },
  heard,
  digit: async ({ digit }) => page.click(`#keypad [data-digit="${digit}"]`),
  mute: async () => page.click('#mute'),
  call: async ({ text }) => {
    await page.waitForFunction((wanted) => document.getElementById('call').textContent.includes(wanted), text);
    return { text: await page.textContent('#call') };
  },
  hang_up: async () => page.click('#hang-up'),
  state: ({ wanted }) => state(wanted),
  leave: async () => {
    await page.click('#leave');
    await state('offline');
  },
  // What a person would look at: nothing sticks out at phone width, every control has a name, both languages work.
  looks: async () => {
    const narrow = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll('button, input')].filter((e) => !e.textContent.trim() && !e.labels?.length).length);
    await page.click('#language');
    const chinese = await page.textContent('h1');
    const lang = await page.getAttribute('html', 'lang');
    await page.click('#language');
    return { narrow, nameless, chinese, lang };
  },
  complaints: async () => ({ complaints }),
};

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...given } = JSON.parse(line);
    try {
      const answer = await commands[name](given);
      console.log(JSON.stringify({ ok: true, ...answer }));
    } catch (error) {
      console.log(JSON.stringify({ ok: false, error: String(error), complaints }));
    }
  }
} finally {
  await context.close();
}
