//! Accounts, what they may see, and the log of what they touched.

use super::super::{
    Error, Tx, access,
    access::{Access, Verdict},
    attempts, clients, receipts, recordings,
    recordings::{NewRecording, RecordingState, Seal},
    sql::Sql,
    users,
    users::{NewUser, Role, Scope, Token},
};
use super::{NODE, NOW_MS, Test, call_id, case, dial, floor, number, on_both};
use crate::ids::{RecordingId, UserId};

pub(super) async fn user(tx: &mut Tx, name: &str) -> UserId {
    let new = NewUser {
        name,
        role: Role::Agent,
        agent_id: None,
        scope: Scope::All,
    };
    let mut random = [0; 32];
    random[..name.len()].copy_from_slice(name.as_bytes());
    users::add(tx, &new, &Token::from_random(random), NOW_MS)
        .await
        .unwrap()
}

async fn write(tx: &mut Tx, n: i64) {
    let object = format!("recording {n}");
    let detail = serde_json::json!({ "range": n, "reason": "spot check" });
    let access = Access {
        at_ms: NOW_MS + n,
        actor: "qa",
        action: "recording.play",
        object: &object,
        client_id: None,
        detail,
    };
    access::log(tx, &access).await.unwrap();
}

on_both! {
    async fn a_token_works_until_it_is_replaced_or_revoked(test: Test) {
        let mut tx = test.db.begin().await.unwrap();
        let bank = clients::ensure(&mut tx, "bank", "Bank", NOW_MS).await.unwrap().id;
        let other = clients::ensure(&mut tx, "other", "Other", NOW_MS).await.unwrap().id;
        let (first, second) = (Token::from_random([1; 32]), Token::from_random([2; 32]));
        let new = NewUser { name: "lin", role: Role::Qa, agent_id: None, scope: Scope::Clients(vec![bank]) };
        let id = users::add(&mut tx, &new, &first, NOW_MS).await.unwrap();
        let found = users::by_token(&mut tx, &Token::presented(first.expose())).await.unwrap().unwrap();
        assert_eq!((found.id, found.role, found.used_at_ms), (id, Role::Qa, None));
        assert!(found.scope.includes(bank) && !found.scope.includes(other));
        users::note_use(&mut tx, id, NOW_MS + 1).await.unwrap();
        users::renew_token(&mut tx, "lin", &second, NOW_MS).await.unwrap();
        assert!(users::by_token(&mut tx, &first).await.unwrap().is_none());
        assert_eq!(users::by_token(&mut tx, &second).await.unwrap().unwrap().used_at_ms, Some(NOW_MS + 1));
        users::revoke(&mut tx, "lin", NOW_MS).await.unwrap();
        assert!(users::by_token(&mut tx, &second).await.unwrap().is_none());
        let again = users::renew_token(&mut tx, "lin", &first, NOW_MS).await.unwrap_err();
        assert!(matches!(again, Error::NotFound { .. }), "{again:?}");
        assert!(users::by_name(&mut tx, "lin").await.unwrap().unwrap().revoked_at_ms.is_some());
        assert!(users::by_token(&mut tx, &Token::presented("")).await.unwrap().is_none());
    }

    async fn the_token_itself_is_stored_nowhere(test: Test) {
        let token = Token::from_random([7; 32]);
        assert_eq!(format!("{token:?}"), "Token(…)");
        let mut tx = test.db.begin().await.unwrap();
        let new = NewUser { name: "lin", role: Role::Admin, agent_id: None, scope: Scope::All };
        users::add(&mut tx, &new, &token, NOW_MS).await.unwrap();
        let stored = Sql { act: "x", text: "SELECT token_sha256 FROM users" };
        let stored: String = tx.fetch_one(&stored, vec![]).await.unwrap().get("token_sha256").unwrap();
        assert!(stored.len() == 64 && !stored.contains(token.expose()));
        assert_eq!(token.expose().len(), 3 + 43, "256 bits in base64url");
    }

    async fn lists_hold_only_what_the_viewer_may_see(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let foreign = case(&mut tx, "other", "D", "C", &number(80)).await;
        dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        dial(&mut tx, 2, &foreign, floor.agent).await;
        for (n, target) in [(1, &floor.targets[0]), (2, &foreign)] {
            let new = NewRecording {
                id: RecordingId::from_uuid(call_id(n).uuid()),
                call: call_id(n),
                segment: 1,
                client: target.client,
                created_at_ms: NOW_MS,
                sample_rate: 8_000,
                channels: 2,
            };
            recordings::insert(&mut tx, &new).await.unwrap();
        }
        let scope = Scope::Clients(vec![foreign.client]);
        let new = NewUser { name: "narrow", role: Role::Qa, agent_id: None, scope };
        users::add(&mut tx, &new, &Token::from_random([1; 32]), NOW_MS).await.unwrap();
        user(&mut tx, "wide").await;
        for (name, expected) in [("narrow", vec![call_id(2)]), ("wide", vec![call_id(2), call_id(1)])] {
            let viewer = users::by_name(&mut tx, name).await.unwrap().unwrap();
            let calls = attempts::list(&mut tx, &viewer, None, None, 10).await.unwrap();
            assert_eq!(calls.iter().map(|a| a.id).collect::<Vec<_>>(), expected);
            let heard = recordings::list(&mut tx, &viewer, None, None, 10).await.unwrap();
            assert_eq!(heard.iter().map(|r| r.call).collect::<Vec<_>>(), expected);
            let proofs = receipts::list(&mut tx, &receipts::Wanted::default(), Some(&viewer), 10).await.unwrap();
            assert_eq!(proofs.len(), expected.len());
            let older = attempts::list(&mut tx, &viewer, None, Some(call_id(2)), 10).await.unwrap();
            assert_eq!(older.len(), expected.len() - 1);
            let others = attempts::list(&mut tx, &viewer, Some(crate::ids::AgentId::new(999)), None, 10).await.unwrap();
            assert_eq!(others, []);
        }
    }

    async fn a_recording_is_sealed_once(test: Test) {
        let floor = floor(&test.db, 1).await;
        let mut tx = test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let new = |segment| NewRecording {
            id: RecordingId::from_uuid(call_id(100 + segment).uuid()),
            call,
            segment,
            client: floor.targets[0].client,
            created_at_ms: NOW_MS,
            sample_rate: 8_000,
            channels: 2,
        };
        let seal = Seal {
            recovered: true,
            started_at_ms: Some(NOW_MS),
            ended_at_ms: NOW_MS + 2_000,
            sealed_at_ms: NOW_MS + 3_000,
            samples: 16_000,
            duration_ms: 2_000,
            expected_ms: 2_100,
            covered_ms: 2_000,
            bytes: 70_000,
            wav_sha256: "ab".into(),
            analysis: "{}".into(),
            gaps: "[]".into(),
            retain_until_ms: NOW_MS * 2,
        };
        for segment in [1, 2, 3] {
            recordings::insert(&mut tx, &new(segment)).await.unwrap();
        }
        assert_eq!(recordings::live_on(&mut tx, NODE).await.unwrap().len(), 3);
        assert!(recordings::seal(&mut tx, new(1).id, &seal).await.unwrap());
        assert!(!recordings::seal(&mut tx, new(1).id, &Seal { samples: 1, ..seal.clone() }).await.unwrap());
        assert!(!recordings::abandon(&mut tx, new(1).id).await.unwrap());
        assert!(recordings::abandon(&mut tx, new(2).id).await.unwrap());
        assert!(recordings::lose(&mut tx, new(3).id).await.unwrap());
        assert_eq!(recordings::live_on(&mut tx, NODE).await.unwrap(), []);
        let stored = recordings::of_call(&mut tx, call).await.unwrap();
        assert_eq!(stored.iter().map(|r| r.segment).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((stored[0].state, stored[0].seal.as_ref()), (RecordingState::Recovered, Some(&seal)));
        assert_eq!(recordings::by_id(&mut tx, new(2).id).await.unwrap().unwrap().state, RecordingState::Abandoned);
    }

    async fn the_access_log_shows_every_kind_of_tampering(test: Test) {
        for n in 0..5 {
            let mut tx = test.db.begin().await.unwrap();
            write(&mut tx, n).await;
            tx.commit().await.unwrap();
        }
        let mut tx = test.db.read().await.unwrap();
        let Verdict::Intact { rows: 5, last_hash } = access::verify(&mut tx).await.unwrap() else { panic!() };
        drop(tx);
        let tampered = [
            ("UPDATE access_log SET actor = 'nobody' WHERE seq = 3", 3),
            ("UPDATE access_log SET at_ms = at_ms + 1 WHERE seq = 1", 1),
            ("UPDATE access_log SET detail = '{}' WHERE seq = 5", 5),
            ("UPDATE access_log SET client_id = 1 WHERE seq = 4", 4),
            ("UPDATE access_log SET previous_hash = hash WHERE seq = 2", 2),
            ("DELETE FROM access_log WHERE seq = 2", 2),
            ("UPDATE access_log SET seq = 9 WHERE seq = 5", 5),
        ];
        for (text, seq) in tampered {
            let mut tx = test.db.begin().await.unwrap();
            tx.execute(&Sql { act: "tamper", text }, vec![]).await.unwrap();
            assert_eq!(access::verify(&mut tx).await.unwrap(), Verdict::Broken { seq }, "{text}");
            tx.rollback().await.unwrap();
        }
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(&Sql { act: "cut", text: "DELETE FROM access_log WHERE seq = 5" }, vec![]).await.unwrap();
        let Verdict::Intact { rows: 4, last_hash: cut } = access::verify(&mut tx).await.unwrap() else { panic!() };
        assert_ne!(cut, last_hash, "a cut end shows against the hash kept elsewhere");
    }

    async fn many_accesses_at_once_make_one_chain(test: Test) {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..40 {
            let db = test.db.clone();
            tasks.spawn(async move {
                let mut tx = db.begin().await.unwrap();
                write(&mut tx, n).await;
                tx.commit().await.unwrap();
            });
        }
        tasks.join_all().await;
        let mut tx = test.db.read().await.unwrap();
        assert!(matches!(access::verify(&mut tx).await.unwrap(), Verdict::Intact { rows: 40, .. }));
    }
}
