//! Receipts from the command line, on both databases: explained, found, read, decided again.

use super::*;

on_both! {
    async fn explaining_stores_nothing_and_replaying_proves_what_is_stored(test: Test) {
        let floor = floor(&test.db, 1).await;
        let office = Office::new(test);
        let explain = "policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T22:00:00+08:00 --json";
        let receipt = office.well(explain).await;
        let file = office.file("receipt.json", &receipt);
        let replayed = office.well(&format!("policy replay {}", shown(&file))).await;
        assert!(replayed.starts_with("refused, as it says"), "{replayed}");
        let altered = office.file("altered.json", &receipt.replace("\"settled\":0", "\"settled\":9"));
        office.ill(&format!("policy replay {}", shown(&altered)), "another result").await;
        office.ill("policy replay nothing.json", "neither a receipt's id nor a file").await;
        let mut tx = office.test.db.read().await.unwrap();
        let span = crate::store::receipts::Span { client: None, from_ms: i64::MIN, to_ms: i64::MAX };
        assert_eq!(crate::store::receipts::page(&mut tx, span, None, 1).await.unwrap(), []);
        tx.rollback().await.unwrap();
        // Stored ones, judged by a stricter bank.
        for (n, hour) in [10, 20, 22].into_iter().enumerate() {
            let at_ms = NOW_MS + (hour - 10) * 3_600_000;
            decided(&office.test, &floor, n as u32, at_ms).await;
        }
        let all = office.well("policy replay --all").await;
        assert!(all.starts_with("3 receipts decided again: 2 allowed, 1 refused; 0 do not prove"), "{all}");
        let some = office.well("policy replay --all --from 2026-11-23T15:00:00+08:00 --to 2026-11-23T21:00:00+08:00 --client bank").await;
        assert!(some.starts_with("1 receipts"), "{some}");
        let bank = "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[window]\nclause = 'x'\n[window.week]\nmon = ['08:00-18:00']\n";
        let stricter = office.file("stricter.toml", bank);
        let against = office.well(&format!("policy replay --all --against {}", shown(&stricter))).await;
        assert!(against.contains("1 allowed ones would have been refused, 0 refused ones allowed"), "{against}");
        assert!(against.contains("1 x outside_window") && against.contains("allowed -> outside_window"), "{against}");
        let one = office.well(&format!("policy replay {} --against {}", shown(&file), shown(&stricter))).await;
        assert!(one.contains("refused, the same"), "{one}");
        // A folder judges each receipt by the rules of its client; a file stands beside what holds for all.
        let folder = office.dir.path().join("proposed");
        std::fs::create_dir(&folder).unwrap();
        office.file("proposed/other.toml", &bank.replace("'bank'", "'other'"));
        let against = |place: &Path| format!("policy replay --all --against {}", shown(place));
        let told = office.well(&against(&folder)).await;
        assert!(told.contains("each by the rules of its client") && told.contains("0 allowed ones would have been refused"), "{told}");
        let other = folder.join("other.toml");
        assert!(office.well(&against(&other)).await.contains("every client is judged by other.toml"), "and that is said");
        office.file("proposed/all.toml", "base = 'cn-plan'\nname = 'all'\nrevision = '1'\n[window]\nclause = 'y'\n[window.week]\nmon = ['12:00-21:00']\n");
        let told = office.well(&against(&folder)).await;
        assert!(told.contains("1 allowed ones would have been refused"), "{told}");
        let told = office.well(&against(&other)).await;
        assert!(told.contains("by all.toml + other.toml") && told.contains("2 allowed ones would have been refused"), "{told}");
        office.ill(&format!("policy replay {} --against {}", shown(&file), shown(&folder)), "name the client's file").await;
        // The hash that is checked is the one that comes into force.
        let checked = office.well(&format!("policy check {}", shown(&other))).await;
        let loaded = crate::rulebook::files::Loaded::read(crate::policy::Preset::CnPlan, Some(&folder)).unwrap();
        assert!(checked.contains("in force it is all.toml + other.toml: cn-plan+all+cn-plan+other revision")
            && checked.contains(&loaded.of("other").sha256), "{checked}");
        let checked = office.well(&format!("policy check {}", shown(&folder.join("all.toml")))).await;
        assert!(checked.contains(&loaded.general.sha256), "{checked}");
    }

    async fn receipts_are_found_by_case_number_time_and_reason_and_read_rule_by_rule(test: Test) {
        let floor = floor(&test.db, 2).await;
        let office = Office::new(test);
        for (n, hour) in [10, 20, 22].into_iter().enumerate() {
            decided(&office.test, &floor, n as u32, NOW_MS + (hour - 10) * 3_600_000).await;
        }
        let lines = async |more: &str| {
            let table = office.well(format!("receipts list {more}").trim()).await;
            assert!(!table.contains("1381000"), "{table}");
            table.matches("bank/C").count()
        };
        assert_eq!(lines("").await, 3);
        assert_eq!(lines("--case bank/C0 --number 13810000000").await, 3);
        assert_eq!((lines("--case bank/C1").await, lines("--number 13810000001").await), (0, 0));
        assert_eq!(lines("--case bank/C0 --number 13810000001").await, 0);
        assert_eq!((lines("--refused").await, lines("--reason outside_window").await, lines("--reason do_not_call").await), (1, 1, 0));
        assert_eq!(lines("--client bank --from 2026-11-23T15:00:00+08:00").await, 2);
        assert_eq!(lines("--number 13810000000 --from 2026-11-23T15:00:00+08:00 --to 2026-11-23T21:00:00+08:00").await, 1);
        let one = office.well("receipts list --limit 1").await;
        assert!(one.contains("more than 1") && one.contains("outside_window"), "the newest: {one}");
        office.ill("receipts list --reason Cap%", "cap_reached").await;
        office.ill("receipts list --reason cap_reachd", "reason: one of clock_untrusted").await;
        office.ill("receipts list --number 13810000077", "never entered").await;
        office.ill("receipts list --case bank/C9", "has no case").await;
        let mut tx = office.test.db.read().await.unwrap();
        let wanted = crate::store::receipts::Wanted { allowed: Some(false), ..Default::default() };
        let refused = crate::store::receipts::list(&mut tx, &wanted, None, 9).await.unwrap();
        let before = crate::store::receipts::Wanted { before: Some(refused[0].id), ..Default::default() };
        assert_eq!(crate::store::receipts::list(&mut tx, &before, None, 9).await.unwrap().len(), 2);
        tx.rollback().await.unwrap();
        let id = refused[0].id;
        let why = office.well(&format!("receipts show {id}")).await;
        for word in ["refused, for 2026-11-23 22:00:00", "bank/C0", "REFUSED  window", "08:00", "cap", "T11"] {
            assert!(why.contains(word), "no {word}: {why}");
        }
        let json = office.file("shown.json", &office.well(&format!("receipts show {id} --json")).await);
        assert!(office.well(&format!("policy replay {}", shown(&json))).await.starts_with("refused, as it says"));
        assert!(office.well(&format!("receipts replay {id}")).await.starts_with("refused, as stored"));
        office.ill("receipts show 01890000-0000-7000-8000-000000000000", "receipts list").await;
    }
}

/// Decides and stores as the gate does.
async fn decided(test: &Test, floor: &crate::store::tests::Floor, n: u32, at_ms: i64) {
    use crate::{ids::ReceiptId, policy as rules, store};
    let mut tx = test.db.begin().await.unwrap();
    let target = &floor.targets[0];
    let set = std::sync::Arc::new(rules::Preset::CnPlan.rules());
    let facts = store::facts::read(&mut tx, target, set, at_ms)
        .await
        .unwrap();
    let now = rules::Now {
        wall_ms: at_ms,
        trust: crate::clock::ClockTrust::Trusted { error_ms: 0 },
        origin: crate::clock::ClockOrigin::System,
    };
    let decision = rules::decide(&facts, &now);
    let new = store::receipts::NewReceipt {
        id: ReceiptId::from_uuid(call_id(100 + n).uuid()),
        at_ms,
        allowed: decision.is_allowed(),
        target,
        agent: None,
        user: None,
        rules_sha256: decision.receipt.rules_hash(),
        reasons: &store::receipts::codes(&decision),
        body: decision.receipt.text(),
    };
    store::receipts::insert(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
}
