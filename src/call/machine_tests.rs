//! What the call machine does, by name. `machine_random.rs` beside this: what it never does, whatever comes in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use super::machine::{CallSpec, Effect, Event, Input, Leg, Machine, Release, State};
use super::{Cause, Class, LegFailure, Outcome, Party, RecordingFate};

const S: Duration = Duration::from_secs(1);

fn spec(t0: Instant) -> CallSpec {
    CallSpec {
        invite_until: t0 + 120 * S,
        ring_until: t0 + 3000 * S,
        ring_limit: 60 * S,
        closes_at: t0 + 3005 * S,
        warn_before: 60 * S,
        agent_ring_limit: 30 * S,
        silence_limit: 60 * S,
    }
}

/// A machine with its time and everything it said.
struct Bench {
    machine: Machine,
    t0: Instant,
    now: Instant,
    effects: Vec<Effect>,
    events: Vec<Event>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut CallSpec, Instant)) -> Self {
        let t0 = Instant::now();
        let mut spec = spec(t0);
        change(&mut spec, t0);
        let mut bench = Self {
            machine: Machine::new(spec, t0),
            t0,
            now: t0,
            effects: Vec::new(),
            events: Vec::new(),
        };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        self.effects
            .extend(std::iter::from_fn(|| self.machine.poll_effect()));
        self.events
            .extend(std::iter::from_fn(|| self.machine.poll_event()));
    }

    fn feed(&mut self, inputs: &[Input]) -> &mut Self {
        for input in inputs {
            self.machine.handle(*input, self.now);
            self.drain();
        }
        self
    }

    fn wait(&mut self, by: Duration) -> &mut Self {
        let target = self.now + by;
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= target) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = target;
        self
    }

    fn outcome(&self) -> &Outcome {
        match self.effects.last() {
            Some(Effect::CloseAttempt(outcome)) => outcome,
            other => panic!("not closed: {other:?}"),
        }
    }

    fn count(&self, wanted: &Effect) -> usize {
        self.effects
            .iter()
            .filter(|effect| *effect == wanted)
            .count()
    }
}

const TO_RINGING: &[Input] = &[
    Input::LegRinging(Leg::Agent),
    Input::LegAnswered(Leg::Agent),
    Input::RecordingOpened,
    Input::SeizureMarked,
    Input::LegRinging(Leg::Customer),
];
const TO_TALK: &[Input] = &[Input::LegAnswered(Leg::Customer), Input::Bridged];

fn refused(leg: Leg, status: u16, q850: Option<u8>) -> Input {
    Input::LegFailed(leg, LegFailure::Refused { status, q850 })
}

#[test]
fn a_whole_call_happens_in_the_order_of_the_design() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .wait(2 * S)
        .feed(TO_RINGING)
        .wait(3 * S)
        .feed(TO_TALK)
        .wait(10 * S);
    bench.feed(&[Input::LegEnded(Leg::Customer)]);
    let at = bench.now;
    let outcome = bench.outcome().clone();
    assert_eq!(
        bench.effects,
        [
            Effect::CallAgent,
            Effect::OpenRecording,
            Effect::MarkSeizure,
            Effect::CallCustomer { ring: 60 * S },
            Effect::StartRingback,
            Effect::StopRingback,
            Effect::Bridge,
            Effect::Release {
                leg: Leg::Customer,
                how: Release::Gone
            },
            Effect::Release {
                leg: Leg::Agent,
                how: Release::HangUp
            },
            Effect::CloseRecording { keep: true, at },
            Effect::CloseAttempt(outcome.clone()),
        ]
    );
    assert_eq!(
        (outcome.cause, outcome.ended_by),
        (Cause::Answered, Party::Customer)
    );
    assert_eq!(
        (outcome.ring_ms(), outcome.talk_ms(), outcome.pdd_ms()),
        (Some(3000), 10_000, Some(0))
    );
    assert!(outcome.seized && outcome.connected && !outcome.counts_as_unanswered());
    assert_eq!(
        (outcome.recording, outcome.overrun_ms),
        (RecordingFate::Kept, 0)
    );
    assert_eq!(
        bench.events,
        [
            Event::AgentRinging,
            Event::AgentAnswered,
            Event::CustomerCalled,
            Event::CustomerRinging,
            Event::CustomerAnswered,
            Event::Bridged
        ]
    );
}

#[test]
fn every_way_a_customer_can_fail_ends_with_its_cause_and_frees_the_agent() {
    for (input, cause, class, by, seized) in [
        (
            refused(Leg::Customer, 486, Some(17)),
            Cause::Busy,
            Class::Callee,
            Party::Customer,
            true,
        ),
        (
            refused(Leg::Customer, 603, None),
            Cause::Rejected,
            Class::Callee,
            Party::Customer,
            true,
        ),
        (
            refused(Leg::Customer, 403, Some(21)),
            Cause::Rejected,
            Class::Callee,
            Party::Customer,
            true,
        ),
        (
            refused(Leg::Customer, 404, Some(1)),
            Cause::UnknownNumber,
            Class::Callee,
            Party::Customer,
            true,
        ),
        (
            refused(Leg::Customer, 480, Some(19)),
            Cause::NoAnswer,
            Class::Callee,
            Party::Customer,
            true,
        ),
        (
            refused(Leg::Customer, 503, Some(34)),
            Cause::Congestion,
            Class::Trunk,
            Party::Customer,
            true,
        ),
        (
            Input::LegFailed(Leg::Customer, LegFailure::Unreached),
            Cause::TrunkDown,
            Class::Trunk,
            Party::System,
            true,
        ),
        (
            Input::LegFailed(Leg::Customer, LegFailure::Local),
            Cause::Internal,
            Class::Ours,
            Party::System,
            false,
        ),
        (
            Input::LegFailed(Leg::Customer, LegFailure::Late { invited: false }),
            Cause::PermitExpired,
            Class::Ours,
            Party::System,
            false,
        ),
        (
            Input::LegFailed(Leg::Customer, LegFailure::Late { invited: true }),
            Cause::PermitExpired,
            Class::Ours,
            Party::System,
            true,
        ),
    ] {
        let mut bench = Bench::new(|_, _| {});
        bench.feed(TO_RINGING).feed(&[input]);
        let outcome = bench.outcome();
        assert_eq!(
            (outcome.cause, outcome.class(), outcome.ended_by),
            (cause, class, by)
        );
        assert_eq!((outcome.seized, outcome.connected), (seized, false));
        assert_eq!(outcome.recording, RecordingFate::Abandoned);
        assert_eq!(
            bench.count(&Effect::Release {
                leg: Leg::Agent,
                how: Release::HangUp
            }),
            1
        );
        assert_eq!(
            bench.count(&Effect::Release {
                leg: Leg::Customer,
                how: Release::Gone
            }),
            1
        );
    }
}

#[test]
fn the_status_and_q850_cause_of_a_failed_leg_reach_the_outcome() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(TO_RINGING)
        .feed(&[refused(Leg::Customer, 486, Some(17))]);
    assert_eq!(
        (bench.outcome().sip_status, bench.outcome().q850),
        (Some(486), Some(17))
    );
}

#[test]
fn an_agent_who_does_not_pick_up_costs_the_customer_nothing() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(&[Input::LegRinging(Leg::Agent)]).wait(30 * S);
    assert_eq!(bench.outcome().cause, Cause::AgentNoAnswer);
    assert!(!bench.outcome().seized);
    assert_eq!(bench.outcome().recording, RecordingFate::None);
    assert_eq!(bench.count(&Effect::OpenRecording), 0);
}

#[test]
fn where_nothing_came_back_the_ring_limit_blames_the_trunk_and_no_person() {
    let mut bench = Bench::new(|_, _| {});
    bench.wait(30 * S);
    assert_eq!(bench.outcome().cause, Cause::TrunkDown);

    let to_invite = &TO_RINGING[..TO_RINGING.len() - 1];
    let mut bench = Bench::new(|_, _| {});
    bench.feed(to_invite).wait(60 * S);
    assert_eq!(bench.outcome().cause, Cause::TrunkDown);

    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(to_invite)
        .feed(&[Input::LegTrying(Leg::Customer)])
        .wait(60 * S);
    assert_eq!(bench.outcome().cause, Cause::NoAnswer);
}

#[test]
fn the_customer_rings_no_longer_than_the_limit() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(TO_RINGING)
        .wait(60 * S - Duration::from_millis(1));
    assert!(!bench.machine.is_ended());
    bench.wait(Duration::from_millis(1));
    assert_eq!(
        (bench.outcome().cause, bench.outcome().ended_by),
        (Cause::NoAnswer, Party::System)
    );
    assert_eq!(bench.outcome().ring_ms(), Some(60_000));
    assert_eq!(
        bench.count(&Effect::Release {
            leg: Leg::Customer,
            how: Release::HangUp
        }),
        1
    );
}

#[test]
fn near_the_end_of_the_window_the_ring_is_cut() {
    let mut bench = Bench::new(|spec, t0| spec.ring_until = t0 + 20 * S);
    bench.wait(3 * S).feed(TO_RINGING);
    assert_eq!(bench.count(&Effect::CallCustomer { ring: 17 * S }), 1);
    bench.wait(17 * S);
    assert_eq!(bench.now, bench.t0 + 20 * S);
    assert_eq!(bench.outcome().cause, Cause::NoAnswer);
}

#[test]
fn a_permission_that_runs_out_while_the_agent_waits_calls_nobody() {
    for done in 0..4 {
        let mut bench = Bench::new(|spec, t0| spec.invite_until = t0 + 10 * S);
        let inputs = [
            Input::LegRinging(Leg::Agent),
            Input::LegAnswered(Leg::Agent),
            Input::RecordingOpened,
        ];
        bench.feed(&inputs[..done]).wait(10 * S);
        assert_eq!(bench.outcome().cause, Cause::PermitExpired, "after {done}");
        bench.feed(&[Input::SeizureMarked]);
        assert!(
            !bench
                .effects
                .iter()
                .any(|e| matches!(e, Effect::CallCustomer { .. }))
        );
    }
}

#[test]
fn a_seizure_marked_too_late_calls_nobody_even_if_no_timer_ran() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(&TO_RINGING[..3]);
    bench.now += 120 * S;
    bench.feed(&[Input::SeizureMarked]);
    assert_eq!(bench.outcome().cause, Cause::PermitExpired);
    assert!(!bench.outcome().seized);
}

#[test]
fn a_permission_that_had_run_out_before_rings_nobody() {
    let bench = Bench::new(|spec, t0| spec.invite_until = t0);
    assert_eq!(bench.effects.len(), 1);
    assert_eq!(bench.outcome().cause, Cause::PermitExpired);
}

#[test]
fn what_was_barred_meanwhile_is_not_called() {
    for (input, cause) in [
        (Input::SeizureBarred, Cause::Barred),
        (Input::SeizureFailed, Cause::Internal),
    ] {
        let mut bench = Bench::new(|_, _| {});
        bench.feed(&TO_RINGING[..3]).feed(&[input]);
        assert_eq!(
            (bench.outcome().cause, bench.outcome().seized),
            (cause, false)
        );
    }
}

#[test]
fn an_invite_whose_permit_was_void_is_no_seizure() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(&TO_RINGING[..4]).feed(&[Input::PermitExpired]);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().seized),
        (Cause::PermitExpired, false)
    );
    assert_eq!(bench.outcome().marks.invited_ms, None);
}

#[test]
fn without_a_recording_there_is_no_call() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(&TO_RINGING[..2]).feed(&[Input::RecordingFailed]);
    assert_eq!(bench.outcome().cause, Cause::RecordingUnavailable);
    assert_eq!(bench.outcome().recording, RecordingFate::None);
    let mut bench = Bench::new(|_, _| {});
    bench.feed(TO_RINGING).feed(&[Input::RecordingBroke]);
    assert_eq!(bench.outcome().cause, Cause::RecordingUnavailable);
    assert_eq!(
        bench.count(&Effect::Release {
            leg: Leg::Customer,
            how: Release::HangUp
        }),
        1
    );
}

#[test]
fn a_recording_that_breaks_during_the_talk_raises_an_alarm_and_the_talk_goes_on() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(TO_RINGING).feed(TO_TALK);
    bench.feed(&[Input::RecordingBroke, Input::RecordingBroke]);
    assert_eq!(bench.machine.state(), State::Talking);
    assert_eq!(
        bench
            .events
            .iter()
            .filter(|e| **e == Event::RecordingBroke)
            .count(),
        1
    );
    bench.feed(&[Input::HangUp { by: Party::Agent }]);
    assert_eq!(bench.outcome().recording, RecordingFate::Broken);
    assert_eq!(bench.outcome().cause, Cause::Answered);
}

#[test]
fn hanging_up_while_it_rings_cancels_and_a_late_answer_changes_nothing() {
    for steps in 1..=TO_RINGING.len() {
        let mut bench = Bench::new(|_, _| {});
        bench
            .feed(&TO_RINGING[..steps])
            .feed(&[Input::HangUp { by: Party::Agent }]);
        assert_eq!(
            (bench.outcome().cause, bench.outcome().class()),
            (Cause::Cancelled, Class::Caller)
        );
        let said = bench.effects.len();
        bench.feed(&[
            Input::LegAnswered(Leg::Customer),
            Input::Bridged,
            Input::LegEnded(Leg::Customer),
            refused(Leg::Customer, 487, Some(0)),
        ]);
        assert_eq!(
            bench.effects.len(),
            said,
            "something was said after the end"
        );
    }
}

#[test]
fn an_agent_who_hangs_up_the_phone_before_the_answer_cancels() {
    let mut bench = Bench::new(|_, _| {});
    bench.feed(TO_RINGING).feed(&[Input::LegEnded(Leg::Agent)]);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().ended_by),
        (Cause::Cancelled, Party::Agent)
    );
    assert_eq!(
        bench.count(&Effect::Release {
            leg: Leg::Customer,
            how: Release::HangUp
        }),
        1
    );
}

#[test]
fn a_line_lost_during_the_talk_is_the_trunks_and_stays_connected() {
    for leg in [Leg::Agent, Leg::Customer] {
        let mut bench = Bench::new(|_, _| {});
        bench.feed(TO_RINGING).feed(TO_TALK).wait(5 * S);
        bench.feed(&[Input::LegFailed(leg, LegFailure::Unreached)]);
        assert_eq!(
            (bench.outcome().cause, bench.outcome().class()),
            (Cause::Dropped, Class::Trunk)
        );
        assert!(bench.outcome().connected && bench.outcome().counts_for_ner());
        assert_eq!(bench.outcome().talk_ms(), 5_000);
    }
}

#[test]
fn a_talk_that_crosses_the_closing_hour_goes_on_warned_and_counted() {
    let mut bench = Bench::new(|spec, t0| spec.closes_at = t0 + 100 * S);
    bench.feed(TO_RINGING).feed(TO_TALK).wait(39 * S);
    assert!(!bench.events.contains(&Event::WindowClosing));
    bench.wait(S);
    assert!(bench.events.contains(&Event::WindowClosing));
    assert!(!bench.events.contains(&Event::WindowClosed));
    bench.wait(90 * S);
    assert!(bench.events.contains(&Event::WindowClosed));
    assert_eq!(bench.machine.state(), State::Talking);
    bench.feed(&[Input::LegEnded(Leg::Agent)]);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().overrun_ms),
        (Cause::Answered, 30_000)
    );
}

#[test]
fn a_drain_ends_what_calls_nobody_yet_and_gives_the_others_their_time() {
    let mut bench = Bench::new(|_, _| {});
    let until = bench.t0 + 20 * S;
    bench.feed(&TO_RINGING[..2]).feed(&[Input::Drain { until }]);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().class()),
        (Cause::Drained, Class::Ours)
    );

    let mut bench = Bench::new(|_, _| {});
    let until = bench.t0 + 20 * S;
    bench.feed(TO_RINGING).feed(&[Input::Drain { until }]);
    assert!(!bench.machine.is_ended());
    bench.wait(20 * S);
    assert_eq!(bench.outcome().cause, Cause::Drained);

    let mut bench = Bench::new(|_, _| {});
    let until = bench.t0 + 20 * S;
    bench
        .feed(TO_RINGING)
        .feed(TO_TALK)
        .feed(&[Input::Drain { until }])
        .wait(20 * S);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().ended_by),
        (Cause::Answered, Party::System)
    );
    assert_eq!(bench.outcome().recording, RecordingFate::Kept);
}

#[test]
fn silence_on_one_side_is_told_and_on_both_sides_ends_the_call() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(TO_RINGING)
        .feed(TO_TALK)
        .feed(&[Input::MediaSilent(Leg::Customer)])
        .wait(600 * S);
    assert_eq!(bench.machine.state(), State::Talking);
    bench.feed(&[Input::MediaSilent(Leg::Agent)]).wait(59 * S);
    bench.feed(&[Input::MediaResumed(Leg::Agent)]).wait(600 * S);
    assert_eq!(bench.machine.state(), State::Talking);
    bench.feed(&[Input::MediaSilent(Leg::Agent)]).wait(60 * S);
    assert_eq!(bench.outcome().cause, Cause::Dropped);
}

#[test]
fn early_media_replaces_our_ringback_and_is_no_answer() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(TO_RINGING)
        .feed(&[Input::EarlyMedia(Leg::Customer)]);
    let tail = &bench.effects[bench.effects.len() - 2..];
    assert_eq!(tail, [Effect::StopRingback, Effect::PassEarlyMedia]);
    assert!(!bench.machine.is_connected());
}

#[test]
fn a_bridge_that_cannot_be_made_is_our_fault_and_releases_both() {
    let mut bench = Bench::new(|_, _| {});
    bench
        .feed(TO_RINGING)
        .feed(&[Input::LegAnswered(Leg::Customer), Input::BridgeFailed]);
    assert_eq!(
        (bench.outcome().cause, bench.outcome().class()),
        (Cause::Internal, Class::Ours)
    );
    assert!(bench.outcome().connected);
}
