// The agent's telephone. One WebRTC connection for the whole session, however many calls it serves; calls arrive as
// server-sent events. It decides nothing about calls: the daemon does. The access token stays in this page's memory.
'use strict';

const TEXTS = {
  en: {
    title: 'Agent telephone', token: 'Access token', connect: 'Connect', leave: 'Disconnect', line: 'Line',
    processing: 'Reduce echo and noise (switch off if the headset does it)',
    mute: 'Mute', unmute: 'Unmute', call: 'Current call', no_call: 'No call', hang_up: 'Hang up', keypad: 'Keypad',
    quality: 'Quality', lost: 'Lost', jitter: 'Jitter', delay: 'Round trip',
    offline: 'Not connected', connecting: 'Connecting…', connected: 'Connected', waiting: 'Connection lost, trying again…',
    failed: 'Not connected',
    insecure: 'The browser gives the microphone to https pages and to localhost only. Open this page over https.',
    no_microphone: 'No microphone was found. Plug in the headset and connect again.',
    refused_microphone: 'The microphone was refused. Allow it beside the address bar and connect again.',
    busy_microphone: 'The microphone is used by another program or cannot be opened.',
    no_g711: 'This browser cannot send G.711 audio. Use a current Chromium, Firefox or Safari.',
    bad_token: 'The access token was refused.',
    refused: 'The daemon refused the connection: ',
    unreachable: 'The daemon cannot be reached.',
    replaced: 'Another page of this agent has taken the line.',
    hang_up_failed: 'Hanging up failed: ',
    states: {
      starting: 'Starting', agent_ringing: 'Calling you', agent_answered: 'You are on the line',
      customer_dialling: 'Dialling', customer_ringing: 'Ringing', customer_answered: 'Answered', talking: 'Talking',
      ended: 'Ended',
    },
    notices: {
      window_closing: 'The permitted hours end soon.', window_closed: 'The permitted hours are over: end the call.',
      silent: 'No sound comes from one side.', recording_broken: 'The call is not recorded any more.',
      draining: 'The system is being stopped and will end the call.', resumed: '',
    },
  },
  zh: {
    title: '坐席电话', token: '访问令牌', connect: '连接', leave: '断开', line: '线路',
    processing: '消除回声和噪音（耳机自带此功能时请关闭）',
    mute: '静音', unmute: '取消静音', call: '当前通话', no_call: '无通话', hang_up: '挂断', keypad: '拨号键盘',
    quality: '通话质量', lost: '丢包', jitter: '抖动', delay: '往返时延',
    offline: '未连接', connecting: '正在连接…', connected: '已连接', waiting: '连接中断，正在重试…', failed: '未连接',
    insecure: '浏览器仅允许 https 页面和 localhost 使用麦克风。请通过 https 打开此页面。',
    no_microphone: '未找到麦克风。请插上耳机后重新连接。',
    refused_microphone: '麦克风权限被拒绝。请在地址栏旁允许后重新连接。',
    busy_microphone: '麦克风被其他程序占用或无法打开。',
    no_g711: '此浏览器不支持 G.711 音频。请使用新版 Chromium、Firefox 或 Safari。',
    bad_token: '访问令牌无效。',
    refused: '服务拒绝了连接：',
    unreachable: '无法连接服务。',
    replaced: '该坐席已在另一页面接入。',
    hang_up_failed: '挂断失败：',
    states: {
      starting: '正在发起', agent_ringing: '正在呼叫坐席', agent_answered: '坐席已接听', customer_dialling: '正在拨号',
      customer_ringing: '对方振铃', customer_answered: '对方已接听', talking: '通话中', ended: '已结束',
    },
    notices: {
      window_closing: '允许拨打时段即将结束。', window_closed: '允许拨打时段已结束，请结束通话。',
      silent: '一方没有声音。', recording_broken: '通话已无法继续录音。',
      draining: '系统即将停止，通话将被结束。', resumed: '',
    },
  },
};
const API = '/api/v1';
const STATS_EVERY_MS = 5000;
const DISCONNECTED_LIMIT_MS = 2000; // a browser notices silence after 5 s by itself and gives up after 15 more
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const DIGIT_MS = 160;
const DIGIT_GAP_MS = 70;

const byId = (id) => document.getElementById(id);
let language = navigator.language.startsWith('zh') ? 'zh' : 'en';
let token = '';
let microphone = null; // MediaStream, kept across reconnects so that the browser asks once
let session = null; // { id, peer, sender, abort, timer } while a connection is wanted
let state = 'offline';
let problem = null; // [key of TEXTS, detail]
let call = null; // { id, state, notice }
let heeded = 0; // events of calls so far

// ---- what the user sees -------------------------------------------------------------------------------------

const text = (key) => TEXTS[language][key];

function render() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = `Ringfence – ${text('title')}`;
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', text(element.dataset.label));
  byId('language').textContent = language === 'zh' ? 'English' : '中文';
  byId('language').lang = language === 'zh' ? 'en' : 'zh';

  const muted = Boolean(microphone) && !microphone.getAudioTracks()[0].enabled;
  byId('state').dataset.state = state;
  byId('state-text').textContent = text(state);
  byId('mute').textContent = text(muted ? 'unmute' : 'mute');
  byId('mute').setAttribute('aria-pressed', String(muted));
  byId('mute').disabled = state !== 'connected';
  byId('leave').disabled = !session;
  byId('connect').disabled = Boolean(session) || !window.isSecureContext;
  byId('sign-in').hidden = Boolean(session) && state === 'connected';
  byId('insecure').hidden = window.isSecureContext;
  byId('problem').hidden = !problem;
  byId('problem').textContent = problem ? text(problem[0]) + (problem[1] ?? '') : '';
  byId('call').textContent = call ? `${TEXTS[language].states[call.state] ?? call.state} · ${call.id}` : text('no_call');
  byId('notice').textContent = (call && call.state !== 'ended' && TEXTS[language].notices[call.notice]) || '';
  byId('hang-up').disabled = !call || call.state === 'ended';
  // Not canInsertDTMF: it comes true after the connection and nobody is told; pressing asks again.
  const digits = state === 'connected' && Boolean(session?.sender?.dtmf);
  for (const key of byId('keypad').children) key.disabled = !digits;
}

function show(next, why = problem) {
  state = next;
  problem = why;
  render();
}

// ---- speaking to the daemon ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function request(method, path, body, options = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await fetch(API + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store', ...options,
  });
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({})); // RFC 9457 problem details
  throw new Refused(response.status, refusal.detail ?? refusal.title ?? `HTTP ${response.status}`);
}

// ---- the connection -----------------------------------------------------------------------------------------

// G.711 and telephone-event at 8000 Hz only: nothing has to be transcoded on the way to the telephone network.
function codecs() {
  const known = RTCRtpReceiver.getCapabilities('audio')?.codecs ?? [];
  const wanted = known.filter(({ mimeType, clockRate }) =>
    clockRate === 8000 && ['audio/pcma', 'audio/pcmu', 'audio/telephone-event'].includes(mimeType.toLowerCase()));
  return wanted.some(({ mimeType }) => /pcm[au]$/i.test(mimeType)) ? wanted : null;
}

async function openMicrophone() {
  const processing = byId('processing').checked;
  microphone ??= await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing },
  });
  return microphone.getAudioTracks()[0];
}

async function connect() {
  const current = { abort: new AbortController(), tries: 0 };
  session = current;
  show('connecting', null);
  try {
    await openMicrophone();
  } catch (error) {
    const why = { NotFoundError: 'no_microphone', NotAllowedError: 'refused_microphone' }[error.name] ?? 'busy_microphone';
    return leave('failed', [why]);
  }
  if (session === current) await attempt(current);
}

async function attempt(current) {
  try {
    await negotiate(current);
    watchEvents(current);
  } catch (error) {
    if (session !== current) return;
    if (error instanceof Refused && error.status === 401) return leave('failed', ['bad_token']);
    if (error instanceof Refused && error.status < 500) return leave('failed', ['refused', error.message]);
    if (error.message === 'no_g711') return leave('failed', ['no_g711']);
    retry(current, error instanceof Refused ? ['refused', error.message] : ['unreachable']);
  }
}

async function negotiate(current) {
  const track = await openMicrophone();
  const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  current.peer = peer;
  const transceiver = peer.addTransceiver(track, { direction: 'sendrecv', streams: [microphone] });
  const wanted = codecs();
  if (!wanted) throw new Error('no_g711');
  transceiver.setCodecPreferences(wanted);
  current.sender = transceiver.sender;
  peer.ontrack = ({ track: remote }) => {
    byId('remote').srcObject = new MediaStream([remote]);
    byId('remote').play().catch(() => {}); // autoplay is allowed once the microphone is
  };
  peer.onconnectionstatechange = () => {
    if (session !== current || current.peer !== peer) return;
    if (peer.connectionState === 'connected') {
      current.tries = 0;
      show('connected', null);
    }
    if (peer.connectionState === 'disconnected') {
      show('waiting');
      setTimeout(() => {
        if (session === current && current.peer === peer && peer.connectionState === 'disconnected') retry(current);
      }, DISCONNECTED_LIMIT_MS);
    }
    if (peer.connectionState === 'failed') retry(current, ['unreachable']);
  };
  await peer.setLocalDescription();
  // No candidates are waited for: the daemon answers where this browser's checks come from. It replaces what this
  // page had before, and what it says of that one's end is not about the new one.
  current.id = undefined;
  const response = await request('POST', '/agent/session', { sdp: peer.localDescription.sdp }, { signal: current.abort.signal });
  const { session: id, sdp } = await response.json();
  current.id = id;
  await peer.setRemoteDescription({ type: 'answer', sdp });
  clearInterval(current.timer);
  current.timer = setInterval(() => reportStats(current), STATS_EVERY_MS);
}

function retry(current, why = null) {
  current.id = undefined; // whatever is still said about the old connection no longer matters
  current.peer?.close();
  clearInterval(current.timer);
  show('waiting', why);
  const pause = RETRY_MS[Math.min(current.tries, RETRY_MS.length - 1)];
  current.tries += 1;
  setTimeout(() => session === current && attempt(current), pause);
}

// Ends the session. The daemon is told unless it said so first, because it does not see a browser's DTLS close.
function leave(next = 'offline', why = null, told = false) {
  const ended = session;
  session = null;
  if (ended) {
    clearInterval(ended.timer);
    ended.abort.abort();
    ended.peer?.close();
    if (ended.id && !told) request('DELETE', `/agent/session/${encodeURIComponent(ended.id)}`, undefined, { keepalive: true }).catch(() => {});
  }
  for (const track of microphone?.getTracks() ?? []) track.stop();
  microphone = null;
  call = null;
  byId('remote').srcObject = null;
  show(next, why);
}

// ---- calls --------------------------------------------------------------------------------------------------

// EventSource cannot send the Authorization header, so the stream is read with fetch. It reconnects by itself. Nothing is
// sent again: after every gap the daemon is asked how the newest call stands.
async function watchEvents(current) {
  if (current.watching) return;
  current.watching = true;
  while (session === current) {
    try {
      const headers = { Authorization: `Bearer ${token}`, Accept: 'text/event-stream' };
      const response = await fetch(`${API}/events`, { headers, signal: current.abort.signal, cache: 'no-store' });
      if (!response.ok) throw new Refused(response.status, '');
      refresh(current);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        rest = (rest + value).replaceAll('\r\n', '\n');
        const messages = rest.split('\n\n');
        rest = messages.pop();
        for (const message of messages) onMessage(message, current);
      }
    } catch (error) {
      if (error.name === 'AbortError') break;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  current.watching = false;
}

// How the newest call of this agent stands. What an event said meanwhile is newer.
async function refresh(current) {
  const before = heeded;
  try {
    const [newest] = await (await request('GET', '/calls?limit=1', undefined, { signal: current.abort.signal })).json();
    if (session !== current || heeded !== before || !newest) return;
    if (newest.state !== 'ended' || newest.call === call?.id) onCall({ call_id: newest.call, state: newest.state });
  } catch { /* the next event tells */ }
}

// One server-sent event (HTML standard, section 9.2.6).
function onMessage(message, current) {
  let kind = 'message';
  const data = [];
  for (const line of message.split('\n')) {
    const [, field, value] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
    if (field === 'event') kind = value;
    if (field === 'data') data.push(value);
  }
  const heed = { call: onCall, session: onSession, missed: () => refresh(current) }[kind];
  if (heed && data.length) {
    try {
      heed(JSON.parse(data.join('\n')));
    } catch { /* not JSON: not ours */ }
  }
}

function onCall({ call_id: id, state: next }) {
  if (typeof id !== 'string' || typeof next !== 'string') return;
  heeded += 1;
  // The end of another call than the one shown changes nothing here.
  if (next === 'ended' && call && call.id !== id) return;
  if (next in TEXTS.en.notices) {
    if (call?.id === id) call.notice = next;
  } else {
    call = { id, state: next, notice: call?.id === id ? call.notice : undefined };
  }
  render();
}

// The daemon's end of the connection is gone: taken over by another page of this agent, or closed.
function onSession({ session: id, state: next }) {
  if (!session?.id || session.id !== id) return;
  if (next === 'replaced') leave('failed', ['replaced'], true);
  if (next === 'closed') retry(session);
}

async function hangUp() {
  if (!call) return;
  byId('hang-up').disabled = true;
  try {
    await request('DELETE', `/calls/${encodeURIComponent(call.id)}`);
  } catch (error) {
    show(state, ['hang_up_failed', error.message]);
  }
}

function pressDigit(digit) {
  const dtmf = session?.sender?.dtmf;
  if (dtmf?.canInsertDTMF) dtmf.insertDTMF(dtmf.toneBuffer + digit, DIGIT_MS, DIGIT_GAP_MS);
}

// ---- figures of the connection: the daemon cannot see the browser's side ---------------------------------------

async function figures(peer) {
  const found = {};
  for (const report of (await peer.getStats()).values()) {
    if (report.type === 'candidate-pair' ? report.nominated : report.kind === 'audio') found[report.type] = report;
  }
  const { 'inbound-rtp': inbound, 'outbound-rtp': outbound, 'remote-inbound-rtp': remote, 'candidate-pair': pair } = found;
  const ms = (seconds) => (seconds === undefined ? null : Math.round(seconds * 1000));
  return {
    session: session?.id ?? null,
    connection: peer.connectionState,
    round_trip_ms: ms(pair?.currentRoundTripTime),
    received: {
      packets: inbound?.packetsReceived ?? 0,
      lost: inbound?.packetsLost ?? 0,
      discarded: inbound?.packetsDiscarded ?? 0,
      jitter_ms: ms(inbound?.jitter),
      concealed_samples: inbound?.concealedSamples ?? 0,
      silent_concealed_samples: inbound?.silentConcealedSamples ?? 0,
      samples: inbound?.totalSamplesReceived ?? 0,
      level: inbound?.audioLevel ?? null,
    },
    sent: {
      packets: outbound?.packetsSent ?? 0,
      lost_at_daemon: remote?.packetsLost ?? null,
      jitter_at_daemon_ms: ms(remote?.jitter),
    },
    muted: !(microphone?.getAudioTracks()[0]?.enabled ?? false),
  };
}

async function reportStats(current) {
  if (session !== current || current.peer.connectionState !== 'connected') return;
  try {
    const now = await figures(current.peer);
    const { packets, lost, jitter_ms: jitter } = now.received;
    byId('lost').textContent = packets ? `${((100 * Math.max(lost, 0)) / (packets + Math.max(lost, 0))).toFixed(1)} %` : '–';
    byId('jitter').textContent = jitter === null ? '–' : `${jitter} ms`;
    byId('delay').textContent = now.round_trip_ms === null ? '–' : `${now.round_trip_ms} ms`;
    await request('POST', '/agent/session/stats', now, { signal: current.abort.signal });
  } catch { /* figures are a courtesy: the next ones come in five seconds */ }
}

// ---- controls -----------------------------------------------------------------------------------------------

for (const digit of '123456789*0#') {
  const key = document.createElement('button');
  key.type = 'button';
  key.textContent = digit;
  key.dataset.digit = digit;
  key.addEventListener('click', () => pressDigit(digit));
  byId('keypad').append(key);
}
byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token').value.trim();
  if (!session) connect();
});
byId('leave').addEventListener('click', () => leave());
byId('hang-up').addEventListener('click', hangUp);
byId('mute').addEventListener('click', () => {
  const track = microphone?.getAudioTracks()[0];
  if (track) track.enabled = !track.enabled;
  render();
});
byId('language').addEventListener('click', () => {
  language = language === 'zh' ? 'en' : 'zh';
  render();
});
document.addEventListener('keydown', ({ key, target, ctrlKey, altKey, metaKey }) => {
  if (target instanceof HTMLInputElement || ctrlKey || altKey || metaKey) return;
  if (key.length === 1 && '0123456789*#'.includes(key)) pressDigit(key);
});
window.addEventListener('pagehide', () => leave());
render();
