//! Bars, agreements, outside counts, special days and rules in force: what people write down and decisions read.

use super::super::{
    agreements::{self, AgreementState, NewAgreement, Proof, Step},
    attempts::{self, Seizure},
    bars::{self, NewBar, Subject, Wanted},
    cases, contact_points, facts,
    outside_counts::{self, Change, OutsideCount},
    receipts, recordings,
    rules::{self, Kept},
    special_days, tallies,
};
use super::{DATE, NODE, NOW_MS, Test, attempt, call_id, case, dial, floor, number, on_both};
use crate::{
    call::{Cause, Party},
    ids::{AgreementId, PersonId, ReceiptId, RecordingId},
    policy::{
        BarKind, BarScope, CaseState, Count, CountNeeded, Measure, Preset, Relation, Scope,
        SpecialDay, Week,
    },
    store::{
        Tx,
        attempts::Closing,
        contact_points::Target,
        users::{self, NewUser, Role, Token, User},
    },
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn on(subject: Subject) -> NewBar<'static> {
    NewBar {
        subject,
        client: None,
        kind: BarKind::DoNotCall,
        reason: "asked us to stop",
        from_ms: NOW_MS,
        until_ms: None,
        actor: "lin",
    }
}

fn every_subject(target: &Target) -> [Subject; 5] {
    [
        Subject::Number(target.number_id),
        Subject::Person(target.person),
        Subject::Case(target.case),
        Subject::Client(target.client),
        Subject::Everything,
    ]
}

async fn barred(tx: &mut Tx, target: &Target, at_ms: i64) -> Vec<(BarScope, BarKind)> {
    let found = bars::active_for(tx, target, at_ms).await.unwrap();
    found.iter().map(|bar| (bar.scope, bar.kind)).collect()
}

async fn counts(
    tx: &mut Tx,
    target: &Target,
    asked: &[CountNeeded],
) -> crate::store::Result<Vec<Count>> {
    let persons = facts::persons(tx, target).await?;
    tallies::counts(tx, target, &persons, asked).await
}

fn week(span: &str) -> Week {
    crate::rulebook::agreements::hours(&[span.to_owned()]).unwrap()
}

fn ended(cause: Cause, answered: bool) -> Closing {
    Closing {
        cause,
        ended_by: Party::Customer,
        sip_status: None,
        q850: None,
        seized_at_ms: Some(NOW_MS + 1),
        rang_at_ms: None,
        answered_at_ms: answered.then_some(NOW_MS + 2),
        ended_at_ms: NOW_MS + 3,
        overrun_ms: 0,
    }
}

/// A viewer who sees only the client of this name.
async fn viewer(tx: &mut Tx, name: &str, client: crate::ids::ClientId) -> User {
    let new = NewUser {
        name,
        role: Role::Compliance,
        agent_id: None,
        scope: users::Scope::Clients(vec![client]),
    };
    let token = Token::from_random([name.len() as u8; 32]);
    users::add(tx, &new, &token, NOW_MS).await.unwrap();
    users::by_token(tx, &token).await.unwrap().unwrap()
}

/// A sealed recording of one minute.
async fn recorded(tx: &mut Tx, call: crate::ids::CallId, target: &Target) -> RecordingId {
    let id = RecordingId::from_uuid(call.uuid());
    let new = recordings::NewRecording {
        id,
        call,
        segment: 1,
        client: target.client,
        created_at_ms: NOW_MS,
        sample_rate: 8_000,
        channels: 2,
    };
    recordings::insert(tx, &new).await.unwrap();
    id
}

async fn propose(tx: &mut Tx, target: &Target, recording: RecordingId, waits: bool) -> AgreementId {
    let new = NewAgreement {
        client: target.client,
        case: target.case,
        contact: target.contact,
        numbers: &[target.number_id],
        hours: &week("21:00-22:00"),
        from_ms: NOW_MS,
        until_ms: NOW_MS + 7 * DAY,
        uses_most: Some(1),
        proof: &Proof::Recording {
            id: recording,
            offset_ms: 5_000,
        },
        letter_box: None,
        waits,
        proposed_by: "lin",
        now_ms: NOW_MS,
    };
    agreements::propose(tx, &new).await.unwrap()
}

on_both! {
    async fn whatever_is_barred_bars_the_call_until_it_is_lifted_or_runs_out(test: Test) {
        let floor = floor(&test.db, 2).await;
        let (target, other) = (&floor.targets[0], &floor.targets[1]);
        for subject in every_subject(target) {
            let mut tx = test.db.begin().await.unwrap();
            assert_eq!(barred(&mut tx, target, NOW_MS).await, []);
            let (id, new) = bars::bar(&mut tx, &on(subject)).await.unwrap();
            assert!(new);
            let again = bars::bar(&mut tx, &NewBar { from_ms: NOW_MS + 1, ..on(subject) }).await.unwrap();
            assert_eq!(again, (id, false), "the same bar is entered once");
            assert_eq!(barred(&mut tx, target, NOW_MS).await, [(subject.scope(), BarKind::DoNotCall)]);
            let others = barred(&mut tx, other, NOW_MS).await.len();
            let shared = matches!(subject, Subject::Client(_) | Subject::Everything);
            assert_eq!(others, usize::from(shared), "{subject:?}");
            let early = barred(&mut tx, target, NOW_MS - 4_000).await;
            assert_eq!(early.len(), 1, "a node whose clock is behind sees it too");
            assert!(bars::lift(&mut tx, id, "wang", NOW_MS + 5).await.unwrap());
            assert!(!bars::lift(&mut tx, id, "wang", NOW_MS + 6).await.unwrap());
            assert_eq!(barred(&mut tx, target, NOW_MS + 5).await, []);
            let kept = bars::by_id(&mut tx, id).await.unwrap().unwrap();
            assert_eq!((kept.lifted_by.as_deref(), kept.lifted_at_ms), (Some("wang"), Some(NOW_MS + 5)));
            let hold = NewBar { until_ms: Some(NOW_MS + HOUR), kind: BarKind::Complaint, ..on(subject) };
            bars::bar(&mut tx, &hold).await.unwrap();
            assert_eq!(barred(&mut tx, target, NOW_MS + HOUR - 1).await, [(subject.scope(), BarKind::Complaint)]);
            assert_eq!(barred(&mut tx, target, NOW_MS + HOUR).await, [], "it ran out");
        }
    }

    async fn a_bar_of_one_client_leaves_the_cases_of_others_alone(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let elsewhere = case(&mut tx, "bank2", "D0", "C0", &number(0)).await;
        let target = &floor.targets[0];
        let bar = NewBar { client: Some(target.client), ..on(Subject::Number(target.number_id)) };
        bars::bar(&mut tx, &bar).await.unwrap();
        assert_eq!(barred(&mut tx, target, NOW_MS).await.len(), 1);
        assert_eq!(barred(&mut tx, &elsewhere, NOW_MS).await, []);
    }

    async fn a_barred_person_is_not_called_at_an_own_number_for_anybody_elses_case(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let spouse = case(&mut tx, "bank", "D-spouse", "C-spouse", &number(0)).await;
        bars::bar(&mut tx, &on(Subject::Person(floor.targets[0].person))).await.unwrap();
        assert_ne!(spouse.person, floor.targets[0].person);
        assert_eq!(barred(&mut tx, &spouse, NOW_MS).await, [(BarScope::Person, BarKind::DoNotCall)]);
    }

    async fn every_kind_of_bar_that_comes_while_the_agents_phone_rings_stops_the_seizure(test: Test) {
        let floor = floor(&test.db, 6).await;
        let mut tx = test.db.begin().await.unwrap();
        for (n, target) in floor.targets.iter().enumerate() {
            dial(&mut tx, n as u32, target, floor.agent).await;
        }
        tx.commit().await.unwrap();
        for n in 0..5 {
            let mut tx = test.db.begin().await.unwrap();
            let subject = every_subject(&floor.targets[n])[n];
            bars::bar(&mut tx, &on(subject)).await.unwrap();
            let marked = attempts::mark_seizure(&mut tx, call_id(n as u32), NOW_MS + 1).await.unwrap();
            assert_eq!(marked, Seizure::Barred(BarKind::DoNotCall), "{subject:?}");
            tx.rollback().await.unwrap();
            let mut tx = test.db.begin().await.unwrap();
            let marked = attempts::mark_seizure(&mut tx, call_id(n as u32), NOW_MS + 1).await.unwrap();
            assert_eq!(marked, Seizure::Marked, "without it the call goes on");
        }
        let mut tx = test.db.begin().await.unwrap();
        cases::set_state(&mut tx, floor.targets[5].case, CaseState::Settled, NOW_MS).await.unwrap();
        let marked = attempts::mark_seizure(&mut tx, call_id(5), NOW_MS + 1).await.unwrap();
        assert_eq!(marked, Seizure::CaseBarred(CaseState::Settled));
    }

    async fn a_third_party_who_refuses_while_the_agents_phone_rings_is_not_called(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let case = floor.targets[0].case;
        let (friend, _) = contact_points::ensure(&mut tx, case, "Friend", Relation::Friend, &number(51), NOW_MS).await.unwrap();
        let target = contact_points::target(&mut tx, friend).await.unwrap().unwrap();
        dial(&mut tx, 1, &target, floor.agent).await;
        contact_points::note_refusal(&mut tx, friend, NOW_MS).await.unwrap();
        let marked = attempts::mark_seizure(&mut tx, call_id(1), NOW_MS + 1).await.unwrap();
        assert_eq!(marked, Seizure::PersonRefused);
        assert_eq!(attempts::by_id(&mut tx, call_id(1)).await.unwrap().unwrap().seized_at_ms, None);
    }

    async fn bars_are_listed_for_whom_they_concern(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let target = &floor.targets[0];
        let elsewhere = case(&mut tx, "bank2", "D9", "C9", &number(9)).await;
        for subject in every_subject(target) {
            bars::bar(&mut tx, &on(subject)).await.unwrap();
        }
        let (own, other) = (viewer(&mut tx, "a", target.client).await, viewer(&mut tx, "bb", elsewhere.client).await);
        let list = async |tx: &mut Tx, wanted, user| bars::list(tx, wanted, user, 10).await.unwrap().len();
        assert_eq!(list(&mut tx, Wanted::default(), None).await, 5);
        assert_eq!(list(&mut tx, Wanted::default(), Some(&own)).await, 5);
        assert_eq!(list(&mut tx, Wanted::default(), Some(&other)).await, 1, "what stops every call concerns everybody");
        let on_case = Wanted { subject: Some(Subject::Case(target.case)), ..Wanted::default() };
        assert_eq!(list(&mut tx, on_case, Some(&own)).await, 1);
        let (id, _) = bars::bar(&mut tx, &on(Subject::Case(target.case))).await.unwrap();
        bars::lift(&mut tx, id, "wang", NOW_MS).await.unwrap();
        let active = Wanted { active_at_ms: Some(NOW_MS), ..Wanted::default() };
        assert_eq!(list(&mut tx, active, None).await, 4);
        for subject in [Subject::Number(target.number_id), Subject::Person(target.person), Subject::Case(target.case)] {
            assert!(bars::concerns(&mut tx, subject, &own).await.unwrap());
            assert!(!bars::concerns(&mut tx, subject, &other).await.unwrap());
        }
    }

    async fn an_agreement_waits_for_a_second_person_and_is_read_in_every_state(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, target, floor.agent).await;
        let recording = recorded(&mut tx, call, target).await;
        let id = propose(&mut tx, target, recording, true).await;
        let rules = std::sync::Arc::new(Preset::CnPlan.rules());
        let facts = async |tx: &mut Tx, at_ms| {
            facts::read(tx, target, rules.clone(), at_ms).await.unwrap().agreements
        };
        assert_eq!(facts(&mut tx, NOW_MS).await, [], "it waits");
        assert_eq!(agreements::approve(&mut tx, id, "lin", NOW_MS).await.unwrap(), Step::OwnProposal);
        assert_eq!(agreements::approve(&mut tx, id, "wang", NOW_MS + 1).await.unwrap(), Step::Done);
        let waiting = Step::Not(AgreementState::Active);
        assert_eq!(agreements::approve(&mut tx, id, "wang", NOW_MS + 1).await.unwrap(), waiting);
        let told = facts(&mut tx, NOW_MS).await;
        assert_eq!((told.len(), told[0].approved, told[0].uses_left), (1, true, Some(1)));
        let active = agreements::on_number(&mut tx, target, NOW_MS).await.unwrap();
        assert_eq!(active[0].approved_by.as_deref(), Some("wang"));
        assert_eq!(active[0].hours, week("21:00-22:00"));
        assert_eq!(active[0].numbers, [target.number_id]);
        assert_eq!(facts(&mut tx, NOW_MS + 9 * DAY).await, [], "long expired");
        assert_eq!((active[0].standing(NOW_MS, true), active[0].standing(NOW_MS + 7 * DAY, true)), ("active", "expired"));
        assert_eq!(agreements::revoke(&mut tx, id, "wang", "taken back", NOW_MS + 2).await.unwrap(), Step::Done);
        assert_eq!(facts(&mut tx, NOW_MS).await, []);
        let revoked = agreements::by_id(&mut tx, id).await.unwrap().unwrap();
        assert_eq!((revoked.standing(NOW_MS, true), revoked.ended_reason.as_deref()), ("revoked", Some("taken back")));
        let second = propose(&mut tx, target, recording, true).await;
        assert_eq!(agreements::refuse(&mut tx, second, "wang", "no proof", NOW_MS).await.unwrap(), Step::Done);
        let refused = Step::Not(AgreementState::Refused);
        assert_eq!(agreements::approve(&mut tx, second, "wang", NOW_MS).await.unwrap(), refused);
        let all = agreements::list(&mut tx, agreements::Wanted::default(), &[], None, 10).await.unwrap();
        assert_eq!(all.iter().map(|a| a.state).collect::<Vec<_>>(), [AgreementState::Refused, AgreementState::Revoked]);
    }

    async fn what_nobody_approved_waits_once_the_rules_ask_for_a_second_person(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, target, floor.agent).await;
        let recording = recorded(&mut tx, call, target).await;
        let old = propose(&mut tx, target, recording, false).await;
        let later = propose(&mut tx, target, recording, false).await;
        let only = async |tx: &mut Tx, state, two_persons: &[_]| {
            let wanted = agreements::Wanted { state: Some(state), ..agreements::Wanted::default() };
            let found = agreements::list(tx, wanted, two_persons, None, 10).await.unwrap();
            found.iter().map(|a| a.id).collect::<Vec<_>>()
        };
        assert_eq!(only(&mut tx, AgreementState::Active, &[]).await, [later, old]);
        let asked = [target.client];
        assert_eq!(only(&mut tx, AgreementState::Waiting, &asked).await, [later, old]);
        assert_eq!(only(&mut tx, AgreementState::Active, &asked).await, []);
        let waits = agreements::by_id(&mut tx, old).await.unwrap().unwrap();
        assert_eq!((waits.standing(NOW_MS, true), waits.standing(NOW_MS, false)), ("waiting", "active"));
        assert_eq!(agreements::approve(&mut tx, old, "lin", NOW_MS).await.unwrap(), Step::OwnProposal);
        assert_eq!(agreements::approve(&mut tx, old, "wang", NOW_MS).await.unwrap(), Step::Done);
        assert_eq!(agreements::refuse(&mut tx, later, "wang", "no proof", NOW_MS).await.unwrap(), Step::Done);
        let approved = agreements::by_id(&mut tx, old).await.unwrap().unwrap();
        assert_eq!((approved.standing(NOW_MS, true), approved.approved_by.as_deref()), ("active", Some("wang")));
        assert_eq!(agreements::refuse(&mut tx, old, "wang", "late", NOW_MS).await.unwrap(), Step::Not(AgreementState::Active));
        assert_eq!(only(&mut tx, AgreementState::Active, &asked).await, [old]);
    }

    async fn an_agreement_is_used_up_by_calls_whose_invite_left_or_may_yet(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, target, floor.agent).await;
        let recording = recorded(&mut tx, call, target).await;
        let id = propose(&mut tx, target, recording, false).await;
        let uses = async |tx: &mut Tx| agreements::by_id(tx, id).await.unwrap().unwrap().uses;
        assert_eq!(uses(&mut tx).await, 0);
        let lost = dial(&mut tx, 2, target, floor.agent).await;
        agreements::note_use(&mut tx, id, ReceiptId::from_uuid(lost.uuid())).await.unwrap();
        assert_eq!(uses(&mut tx).await, 1, "under way");
        let nothing_left = Closing { seized_at_ms: None, rang_at_ms: None, ..ended(Cause::AgentNoAnswer, false) };
        attempts::close(&mut tx, lost, &nothing_left).await.unwrap();
        assert_eq!(uses(&mut tx).await, 0, "no INVITE left");
        let made = dial(&mut tx, 3, target, floor.agent).await;
        agreements::note_use(&mut tx, id, ReceiptId::from_uuid(made.uuid())).await.unwrap();
        attempts::close(&mut tx, made, &ended(Cause::NoAnswer, false)).await.unwrap();
        let used = agreements::by_id(&mut tx, id).await.unwrap().unwrap();
        assert_eq!((used.uses, used.standing(NOW_MS, false)), (1, "used_up"));
        assert_eq!(agreements::uses(&mut tx, id).await.unwrap().len(), 2, "every decision stays on record");
    }

    async fn an_agreement_that_is_revoked_while_the_agents_phone_rings_stops_the_seizure(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, target, floor.agent).await;
        let recording = recorded(&mut tx, call, target).await;
        let id = propose(&mut tx, target, recording, false).await;
        let by_it = dial(&mut tx, 2, target, floor.agent).await;
        agreements::note_use(&mut tx, id, ReceiptId::from_uuid(by_it.uuid())).await.unwrap();
        agreements::revoke(&mut tx, id, "wang", "taken back", NOW_MS).await.unwrap();
        assert_eq!(attempts::mark_seizure(&mut tx, by_it, NOW_MS + 1).await.unwrap(), Seizure::AgreementEnded);
        assert_eq!(attempts::mark_seizure(&mut tx, call, NOW_MS + 1).await.unwrap(), Seizure::Marked, "allowed without it");
    }

    async fn calls_count_for_everybody_whose_own_number_it_is(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let own = &floor.targets[0];
        let spouse = case(&mut tx, "bank2", "D-spouse", "C-spouse", &number(0)).await;
        let (friend, _) = contact_points::ensure(&mut tx, own.case, "Friend", Relation::Friend, &number(9), NOW_MS).await.unwrap();
        let friend = contact_points::target(&mut tx, friend).await.unwrap().unwrap();
        let foreign = case(&mut tx, "bank", "D9", "C9", &number(9)).await;
        let both = facts::persons(&mut tx, own).await.unwrap();
        assert_eq!(both, sorted(&[own.person, spouse.person]));
        assert_eq!(facts::persons(&mut tx, &friend).await.unwrap(), sorted(&[own.person, foreign.person]));
        let asked = [CountNeeded { measure: Measure::Seized, scope: Scope::Debtor, since_ms: NOW_MS, at_least_ms: 0 }];
        let count = async |tx: &mut Tx, target: &Target| {
            let count = counts(tx, target, &asked).await.unwrap()[0];
            (count.settled, count.under_way)
        };
        let id = dial(&mut tx, 1, &spouse, floor.agent).await;
        assert_eq!(count(&mut tx, own).await, (0, 1), "a shared number counts for each");
        attempts::close(&mut tx, id, &ended(Cause::NoAnswer, false)).await.unwrap();
        assert_eq!(count(&mut tx, own).await, (1, 0));
        assert_eq!(count(&mut tx, &foreign).await, (0, 0));
        dial(&mut tx, 2, &friend, floor.agent).await;
        assert_eq!(count(&mut tx, own).await, (1, 1), "a call for the case counts, whomever it reaches");
        assert_eq!(count(&mut tx, &foreign).await, (0, 1), "and for whoever owns the number");
    }

    async fn calls_that_others_made_are_added_to_every_counter(test: Test) {
        let floor = floor(&test.db, 2).await;
        let (target, other) = (&floor.targets[0], &floor.targets[1]);
        let mut tx = test.db.begin().await.unwrap();
        let count = OutsideCount {
            client: target.client,
            case: target.case,
            number: None,
            date: DATE.into(),
            day_began_ms: NOW_MS - 10 * HOUR,
            day_ended_ms: NOW_MS + 14 * HOUR,
            attempts: 5,
            connected: 2,
            source: "agency B".into(),
        };
        assert_eq!(outside_counts::put(&mut tx, &count, None).await.unwrap(), Change::New);
        assert_eq!(outside_counts::put(&mut tx, &count, None).await.unwrap(), Change::Same);
        let told_more = OutsideCount { attempts: 6, ..count.clone() };
        assert_eq!(outside_counts::put(&mut tx, &told_more, None).await.unwrap(), Change::Changed);
        let at_number = OutsideCount { number: Some(target.number_id), attempts: 1, connected: 0, ..count.clone() };
        assert_eq!(outside_counts::put(&mut tx, &at_number, None).await.unwrap(), Change::New);
        let asked = |since_ms| {
            [(Measure::Seized, Scope::Case), (Measure::Connected, Scope::Debtor), (Measure::Unanswered, Scope::ContactPoint)]
                .map(|(measure, scope)| CountNeeded { measure, scope, since_ms, at_least_ms: 0 })
        };
        let settled = async |tx: &mut Tx, target: &Target, since_ms| {
            let counts = counts(tx, target, &asked(since_ms)).await.unwrap();
            counts.iter().map(|c| c.settled + c.outside).collect::<Vec<_>>()
        };
        assert_eq!(settled(&mut tx, target, NOW_MS - HOUR).await, [7, 2, 5]);
        assert_eq!(settled(&mut tx, target, NOW_MS + 14 * HOUR).await, [0, 0, 0], "the day is over");
        assert_eq!(settled(&mut tx, other, NOW_MS - HOUR).await, [0, 0, 0]);
        let id = dial(&mut tx, 1, target, floor.agent).await;
        attempts::close(&mut tx, id, &ended(Cause::Answered, true)).await.unwrap();
        assert_eq!(settled(&mut tx, target, NOW_MS - HOUR).await, [8, 3, 5]);
    }

    async fn what_is_under_way_counts_however_long_ago_it_began(test: Test) {
        let floor = floor(&test.db, 1).await;
        let target = &floor.targets[0];
        let mut tx = test.db.begin().await.unwrap();
        attempt(&mut tx, call_id(1), target, floor.agent, DATE, 10, NOW_MS - 40 * DAY, NODE).await;
        for scope in [Scope::ContactPoint, Scope::Debtor, Scope::Case] {
            let asked = [CountNeeded { measure: Measure::Seized, scope, since_ms: NOW_MS, at_least_ms: 0 }];
            let count = counts(&mut tx, target, &asked).await.unwrap()[0];
            assert_eq!((count.settled, count.under_way), (0, 1), "{scope:?}");
        }
    }

    async fn special_days_of_a_year_are_replaced_and_those_of_subdivisions_are_found(test: Test) {
        let day = |region: &str, date: &str, name: &str, hours: &[&str]| SpecialDay {
            region: region.into(),
            date: date.parse().unwrap(),
            name: name.into(),
            hours: hours.iter().map(|span| span.parse().unwrap()).collect(),
        };
        let mut tx = test.db.begin().await.unwrap();
        let first = [day("CN", "2027-02-06", "春节", &[]), day("CN", "2027-10-01", "国庆", &["09:00-12:00"])];
        special_days::replace(&mut tx, "CN", &first, None).await.unwrap();
        let xinjiang = [day("CN-XJ", "2027-02-07", "x", &[])];
        special_days::replace(&mut tx, "CN-XJ", &xinjiang, None).await.unwrap();
        special_days::replace(&mut tx, "US", &[day("US", "2027-02-06", "y", &[])], None).await.unwrap();
        let around = async |tx: &mut Tx, from: &str, to: &str| {
            special_days::around(tx, "CN", from.parse().unwrap(), to.parse().unwrap()).await.unwrap()
        };
        let found = around(&mut tx, "2027-02-05", "2027-02-08").await;
        assert_eq!(found, [first[0].clone(), xinjiang[0].clone()]);
        let second = [day("CN", "2027-02-06", "除夕", &["09:00-10:00"])];
        special_days::replace(&mut tx, "CN", &second, None).await.unwrap();
        assert_eq!(around(&mut tx, "2027-01-01", "2027-12-31").await, [second[0].clone(), xinjiang[0].clone()]);
        assert_eq!(special_days::list(&mut tx, None, "2027-01-01".parse().unwrap()).await.unwrap().len(), 3);
    }

    async fn every_version_of_the_rules_is_kept(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let set = |sha256| Kept { sha256, name: "n", revision: "1", text: "{}" };
        let client = floor.targets[0].client;
        let put = async |tx: &mut Tx, client, sha, now| {
            let entry = rules::Entry { node: "a", client, source: "preset", actor: "lin", now_ms: now };
            rules::put_in_force(tx, set(sha), &entry).await.unwrap()
        };
        assert!(put(&mut tx, None, "a", 1).await);
        assert!(!put(&mut tx, None, "a", 2).await, "nothing new");
        assert!(!rules::has_own(&mut tx, client, "a").await.unwrap());
        assert!(put(&mut tx, Some(client), "b", 3).await);
        assert!(put(&mut tx, None, "b", 4).await);
        assert!(put(&mut tx, None, "a", 5).await, "back to the first");
        assert!(rules::has_own(&mut tx, client, "a").await.unwrap());
        let history = rules::history(&mut tx, None, None, 10).await.unwrap();
        let seen: Vec<_> = history.iter().map(|row| (row.client.as_deref(), row.sha256.as_str(), row.from_ms)).collect();
        assert_eq!(seen, [(None, "a", 5), (None, "b", 4), (Some("bank"), "b", 3), (None, "a", 1)]);
        assert_eq!(rules::history(&mut tx, Some("bank"), Some(history[1].id), 10).await.unwrap().len(), 2);
        assert_eq!(rules::text(&mut tx, "b").await.unwrap().as_deref(), Some("{}"));
        assert_eq!(rules::text(&mut tx, "c").await.unwrap(), None);
    }

    async fn a_rule_set_is_read_by_who_sees_a_client_it_was_in_force_for(test: Test) {
        use crate::store::users::{self, NewUser, Role, Scope, Token};
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let ours = floor.targets[0].client;
        let elsewhere = case(&mut tx, "bank2", "D9", "C9", &number(9)).await.client;
        for (client, sha256) in [(None, "all"), (Some(ours), "ours"), (Some(elsewhere), "theirs")] {
            let set = Kept { sha256, name: "n", revision: "1", text: "{}" };
            let entry = rules::Entry { node: "a", client, source: "preset", actor: "lin", now_ms: NOW_MS };
            rules::put_in_force(&mut tx, set, &entry).await.unwrap();
        }
        let stranger = Kept { sha256: "stranger", name: "n", revision: "1", text: "{}" };
        rules::keep(&mut tx, stranger, NOW_MS).await.unwrap();
        for (name, scope, expected) in [
            ("narrow", Scope::Clients(vec![ours]), [true, true, false, false]),
            ("wide", Scope::All, [true, true, true, true]),
        ] {
            let new = NewUser { name, role: Role::Auditor, agent_id: None, scope };
            let token = Token::from_random([name.len() as u8; 32]);
            users::add(&mut tx, &new, &token, NOW_MS).await.unwrap();
            let viewer = users::by_name(&mut tx, name).await.unwrap().unwrap();
            for (sha256, may) in ["all", "ours", "theirs", "stranger"].into_iter().zip(expected) {
                assert_eq!(rules::may_read(&mut tx, sha256, &viewer).await.unwrap(), may, "{name} {sha256}");
            }
        }
    }

    async fn receipts_are_paged_in_order_and_by_client_and_time(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let elsewhere = case(&mut tx, "bank2", "D9", "C9", &number(9)).await;
        for n in 0..5 {
            dial(&mut tx, n, &floor.targets[0], floor.agent).await;
        }
        dial(&mut tx, 5, &elsewhere, floor.agent).await;
        let everything = receipts::Span { client: None, from_ms: i64::MIN, to_ms: i64::MAX };
        let first = receipts::page(&mut tx, everything, None, 4).await.unwrap();
        let rest = receipts::page(&mut tx, everything, first.last().map(|r| r.id), 4).await.unwrap();
        assert_eq!((first.len(), rest.len()), (4, 2));
        let only = receipts::Span { client: Some(elsewhere.client), ..everything };
        assert_eq!(receipts::page(&mut tx, only, None, 9).await.unwrap().len(), 1);
        let none = receipts::Span { to_ms: NOW_MS, ..everything };
        assert_eq!(receipts::page(&mut tx, none, None, 9).await.unwrap().len(), 0);
    }
}

fn sorted(persons: &[PersonId]) -> Vec<PersonId> {
    let mut persons = persons.to_vec();
    persons.sort_unstable();
    persons
}
