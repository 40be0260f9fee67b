//! One whole call, unattended, through the same doors as a collector's click, and judged like an auditor would.

use std::{io::Write, time::Duration};

use anyhow::{Context, bail};
use ringfence_media::tone::{goertzel, steadiness};
use ringfence_recordings::wav;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout_at};

use super::seed::Floor;
use crate::{
    clock::Clock,
    daemon::Daemon,
    ids::{CallId, RecordingId},
    practice::plan::{Behaviour, DESK_PHONES},
    stats::{check, report, rollup::Sums},
    store,
    switchboard::News,
};

/// Longest a practice call may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Share of a channel's time in which its own tone is heard at least, and the other side's at most.
const OWN_TONE: f64 = 0.9;
const OTHER_TONE: f64 = 0.02;
/// Samples listened to at once, 100 ms: a packet that came too late costs one or two of them.
const WINDOW: usize = 800;

/// Prints one line per finding and counts what is not as it should be.
struct Judge<'a> {
    out: &'a mut (dyn Write + Send),
    wrong: u32,
}

impl Judge<'_> {
    fn say(&mut self, good: bool, what: &str, found: &str) -> anyhow::Result<()> {
        self.wrong += u32::from(!good);
        writeln!(
            self.out,
            "{} {what:<12} {found}",
            if good { "ok   " } else { "WRONG" }
        )?;
        Ok(())
    }
}

pub(super) async fn run(
    daemon: &Daemon,
    floor: &Floor,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut judge = Judge { out, wrong: 0 };
    let (_, _, token) = floor
        .logins
        .first()
        .context("the practice floor has no logins")?;
    let (debtor, point) = floor
        .debtors
        .first()
        .context("the practice floor has no debtors")?;
    let phone = DESK_PHONES[0];
    let Behaviour::Answers { tone_hz, .. } = debtor.behaviour else {
        bail!("the first debtor does not answer")
    };

    // The directory may hold calls of earlier runs: what this one adds is judged.
    let before = today(daemon, clock).await?;
    let mut news = daemon.switchboard.events();
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}/api/v1/{path}", daemon.address);
    let begun = clock.monotonic();
    // A key of this run, for the same reason.
    let run = format!("demo-{:032x}", u128::from_ne_bytes(crate::random::bits()?));
    let answer = client
        .post(url("calls"))
        .bearer_auth(token)
        .header("Idempotency-Key", run)
        .header("Content-Type", "application/json")
        .body(json!({ "contact_point_id": point }).to_string())
        .send()
        .await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    judge.say(
        status == 202,
        "decision",
        &format!(
            "HTTP {status}: {}",
            if status == 202 { "allowed" } else { "refused" }
        ),
    )?;
    if status != 202 {
        bail!("the gate refused: {body}");
    }
    let call: CallId = body
        .get("call")
        .and_then(Value::as_str)
        .context("no call id in the answer")?
        .parse()?;

    let mut seen: Vec<&'static str> = Vec::new();
    let deadline = begun + PATIENCE;
    loop {
        let News::Call(event) = timeout_at(deadline.into(), news.recv())
            .await
            .context("the call did not end within 60 s")??
        else {
            continue;
        };
        if event.call_id != call.to_string() {
            continue;
        }
        let cause = event
            .cause
            .map_or(String::new(), |cause| format!(" ({})", cause.as_str()));
        writeln!(
            judge.out,
            "      {:>6.2} s {}{cause}",
            (clock.monotonic() - begun).as_secs_f64(),
            event.state
        )?;
        seen.push(event.state);
        if event.state == "ended" {
            break;
        }
    }
    for (state, what) in [
        ("agent_ringing", "ringing"),
        ("customer_ringing", "ringing"),
        ("talking", "answer"),
        ("ended", "hang-up"),
    ] {
        judge.say(seen.contains(&state), what, state)?;
    }

    let recording = sealed(daemon, clock, call).await?;
    judge_attempt(daemon, call, &mut judge).await?;
    judge_recording(
        daemon,
        &recording,
        phone.tone_hz,
        tone_hz,
        &client,
        floor,
        &mut judge,
    )
    .await?;
    judge_figures(daemon, clock, &before, &mut judge).await?;
    match judge.wrong {
        0 => {
            writeln!(judge.out, "everything is as it should be")?;
            Ok(())
        }
        wrong => bail!("{wrong} findings are not as they should be"),
    }
}

/// The recording, once it is sealed.
async fn sealed(
    daemon: &Daemon,
    clock: &Clock,
    call: CallId,
) -> anyhow::Result<store::recordings::Recording> {
    let deadline = clock.monotonic() + PATIENCE;
    loop {
        let mut tx = daemon.db.read().await?;
        let found = store::recordings::of_call(&mut tx, call)
            .await?
            .into_iter()
            .find(|r| r.seal.is_some());
        drop(tx);
        match found {
            Some(recording) => return Ok(recording),
            None if clock.monotonic() > deadline => {
                bail!("the recording was not sealed within 60 s")
            }
            None => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn judge_attempt(daemon: &Daemon, call: CallId, judge: &mut Judge<'_>) -> anyhow::Result<()> {
    let mut tx = daemon.db.read().await?;
    let attempt = store::attempts::by_id(&mut tx, call)
        .await?
        .context("the attempt is not stored")?;
    let cause = attempt.cause.map_or("none", |c| c.as_str());
    let talk_ms = attempt.talk_ms().unwrap_or(0);
    judge.say(
        cause == "answered" && talk_ms > 3_000,
        "attempt",
        &format!("{cause}, {talk_ms} ms of talk"),
    )
}

async fn judge_recording(
    daemon: &Daemon,
    recording: &store::recordings::Recording,
    agent_hz: u32,
    customer_hz: u32,
    client: &reqwest::Client,
    floor: &Floor,
    judge: &mut Judge<'_>,
) -> anyhow::Result<()> {
    let id: RecordingId = recording.id;
    let seal = recording
        .seal
        .as_ref()
        .context("the recording is not sealed")?;
    let off = seal.duration_ms.abs_diff(seal.expected_ms);
    judge.say(
        off <= 40,
        "length",
        &format!(
            "{} ms recorded, {} ms from bridge to hang-up",
            seal.duration_ms, seal.expected_ms
        ),
    )?;
    let coverage = crate::coverage::share(seal);
    judge.say(
        coverage > 0.99,
        "coverage",
        &format!("{:.2} %", 100.0 * coverage),
    )?;

    let (_, _, token) = floor
        .logins
        .iter()
        .find(|(_, role, _)| *role == "qa")
        .context("the practice floor has no QA login")?;
    let url = format!("http://{}/api/v1/recordings/{id}/export", daemon.address);
    let answer = client.get(url).bearer_auth(token).send().await?;
    judge.say(
        answer.status().as_u16() == 200,
        "export",
        &format!("HTTP {}", answer.status().as_u16()),
    )?;
    let wav = answer.bytes().await?;
    let form = wav::inspect(wav.as_ref())?;
    judge.say(
        (form.channels, form.sample_rate) == (2, 8_000),
        "WAV",
        &format!("{} channels, {} Hz", form.channels, form.sample_rate),
    )?;
    let samples: Vec<i16> = wav
        .get(wav::WAV_HEADER_LEN..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let channel = |side: usize| {
        samples
            .iter()
            .skip(side)
            .step_by(2)
            .copied()
            .collect::<Vec<i16>>()
    };
    let names = ["agent", "customer"];
    for (side, (own, other)) in [(agent_hz, customer_hz), (customer_hz, agent_hz)]
        .into_iter()
        .enumerate()
    {
        let channel = channel(side);
        let (own_share, other_share) = (heard(&channel, own), heard(&channel, other));
        // A sample that the recording inserts or leaves out while its sender keeps time is a fault of ours.
        let broken = steadiness(&channel, own.into()).broken.len();
        judge.say(
            own_share >= OWN_TONE && other_share <= OTHER_TONE && broken == 0,
            names[side],
            &format!(
                "{own} Hz {:.0} %, {other} Hz {:.1} % of the time, {}",
                100.0 * own_share,
                100.0 * other_share,
                match broken {
                    0 => "unbroken".to_owned(),
                    places => format!("broken in {places} places"),
                }
            ),
        )?;
    }
    let mut tx = daemon.db.read().await?;
    let whole = matches!(
        store::access::verify(&mut tx).await?,
        store::access::Verdict::Intact { .. }
    );
    judge.say(
        whole,
        "access log",
        if whole {
            "hash chain whole"
        } else {
            "hash chain broken"
        },
    )
}

/// Share of the windows in which a tone has most of the power.
fn heard(channel: &[i16], hertz: u32) -> f64 {
    let windows = channel.chunks_exact(WINDOW);
    let count = windows.len().max(1);
    let with = windows
        .filter(|window| goertzel(window, hertz.into()) > 0.8)
        .count();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a practice call has some hundred windows"
    )]
    let share = with as f64 / count as f64;
    share
}

/// The figures of the practice floor's day so far.
async fn today(daemon: &Daemon, clock: &Clock) -> anyhow::Result<Sums> {
    let today = jiff::Timestamp::from_millisecond(clock.wall_ms())?
        .in_tz(super::ZONE)?
        .date();
    let mut tx = daemon.db.read().await?;
    let report = report::connect_rate(&mut tx, store::figures::Axis::Hour, today, today).await?;
    Ok(report.total)
}

async fn judge_figures(
    daemon: &Daemon,
    clock: &Clock,
    before: &Sums,
    judge: &mut Judge<'_>,
) -> anyhow::Result<()> {
    let total = today(daemon, clock).await?;
    let rate = total.connect_rate().map_or(0.0, |rate| rate.rate);
    judge.say(
        total.attempts == before.attempts + 1 && total.connected == before.connected + 1,
        "figures",
        &format!(
            "{} attempts, {} connected, connect rate {:.0} %",
            total.attempts,
            total.connected,
            100.0 * rate
        ),
    )?;
    let recount = check::recount(&daemon.db).await?;
    judge.say(
        recount.differences.is_empty(),
        "recount",
        &format!(
            "{} attempts, {} differences",
            recount.attempts,
            recount.differences.len()
        ),
    )
}
