//! Bars, agreements and rules from the command line, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use super::{Desk, agreements, bars, policy, receipts};
use crate::{
    config::Config,
    ids::{AgentId, RecordingId},
    phone::ShortCodes,
    policy::Relation,
    store::{
        access::{self, Verdict},
        attempts::{self, Closing},
        clients, contact_points, recordings,
        tests::{NOW_MS, Test, call_id, dial, floor, number, on_both},
        users::{self, NewUser, Role, Scope, Token},
    },
};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bars(bars::BarsArgs),
    Agreements(agreements::AgreementsArgs),
    Policy(policy::PolicyArgs),
    Receipts(receipts::ReceiptsArgs),
}

/// A folder of rule files and others, and the database.
struct Office {
    test: Test,
    dir: tempfile::TempDir,
    config: Config,
}

impl Office {
    fn new(test: Test) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("rules")).unwrap();
        let mut config = Config::default();
        config.policy.dir = dir.path().join("rules");
        Self { test, dir, config }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A workbook as a spreadsheet program writes it: whole numbers and days are cells of that kind.
    fn workbook(&self, name: &str, rows: &[&[&str]]) -> PathBuf {
        use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
        let day = Format::new().set_num_format("yyyy-mm-dd");
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        for (row, cells) in (0..).zip(rows) {
            for (column, cell) in (0..).zip(*cells) {
                let date = ExcelDateTime::parse_from_str(cell).ok();
                match (cell.parse::<f64>(), date) {
                    (Ok(number), _) => sheet.write_number(row, column, number).unwrap(),
                    (_, Some(date)) if cell.len() == 10 => sheet
                        .write_datetime_with_format(row, column, &date, &day)
                        .unwrap(),
                    _ => sheet.write_string(row, column, *cell).unwrap(),
                };
            }
        }
        let path = self.dir.path().join(name);
        book.save(&path).unwrap();
        path
    }

    /// Runs a command line at Monday ten o'clock; gives what it printed, or its whole error.
    async fn run(&self, line: &str) -> Result<String, String> {
        let words = line.trim().split(' ').map(|word| word.replace('~', " "));
        let cli = Cli::try_parse_from(std::iter::once("ringfence".to_owned()).chain(words))
            .map_err(|e| e.to_string())?;
        let short = ShortCodes::default();
        let mut desk = Desk::new(&self.config, &self.test.db, &short).map_err(|e| e.to_string())?;
        desk.now_ms = NOW_MS;
        let mut out = Vec::new();
        let done = match cli.command {
            Command::Bars(args) => bars::run(args, &desk, &mut out).await,
            Command::Agreements(args) => agreements::run(args, &desk, &mut out).await,
            Command::Policy(args) => {
                let configured = desk.configured().ok();
                match policy::offline(&args, configured.as_ref(), &mut out) {
                    Ok(true) => Ok(()),
                    Ok(false) => policy::run(args, &desk, &mut out).await,
                    Err(error) => Err(error),
                }
            }
            Command::Receipts(args) => receipts::run(args, &desk, &mut out).await,
        };
        let printed = String::from_utf8(out).unwrap();
        match done {
            Ok(()) => Ok(printed),
            Err(error) => Err(format!("{printed}{}", super::whole(&error))),
        }
    }

    async fn well(&self, line: &str) -> String {
        self.run(line)
            .await
            .unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    async fn ill(&self, line: &str, remedy: &str) {
        let error = self.run(line).await.expect_err(line);
        assert!(error.contains(remedy), "{line}: {error}");
        assert!(!error.contains("+86138"), "{error}");
    }

    /// An account that sees every client, or these.
    async fn account(&self, name: &str, role: Role, agent: Option<AgentId>, scope: Scope) {
        let mut tx = self.test.db.begin().await.unwrap();
        let new = NewUser {
            name,
            role,
            agent_id: agent,
            scope,
        };
        let mut random = [0; 32];
        for (byte, of) in random.iter_mut().zip(name.bytes()) {
            *byte = of;
        }
        users::add(&mut tx, &new, &Token::from_random(random), NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// A sealed recording of a minute, of the first case.
    async fn recording(&self) -> RecordingId {
        let floor = floor(&self.test.db, 2).await;
        let mut tx = self.test.db.begin().await.unwrap();
        let call = dial(&mut tx, 1, &floor.targets[0], floor.agent).await;
        let attempt = attempts::by_id(&mut tx, call).await.unwrap().unwrap();
        let closing = Closing::after_crash(&attempt, crate::call::Cause::Crashed, NOW_MS, None);
        attempts::close(&mut tx, call, &closing).await.unwrap();
        let id = RecordingId::from_uuid(call_id(1).uuid());
        let new = recordings::NewRecording {
            id,
            call,
            segment: 1,
            client: floor.targets[0].client,
            created_at_ms: NOW_MS,
            sample_rate: 8_000,
            channels: 2,
        };
        recordings::insert(&mut tx, &new).await.unwrap();
        let seal = recordings::Seal {
            recovered: false,
            started_at_ms: Some(NOW_MS),
            ended_at_ms: NOW_MS + 60_000,
            sealed_at_ms: NOW_MS + 61_000,
            samples: 480_000,
            duration_ms: 60_000,
            expected_ms: 60_000,
            covered_ms: 60_000,
            bytes: 1,
            wav_sha256: String::new(),
            analysis: "{}".into(),
            gaps: "[]".into(),
            retain_until_ms: NOW_MS,
        };
        recordings::seal(&mut tx, id, &seal).await.unwrap();
        tx.commit().await.unwrap();
        id
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

on_both! {
    async fn numbers_persons_cases_clients_and_everything_are_barred_and_lifted(test: Test) {
        floor(&test.db, 2).await;
        let office = Office::new(test);
        let explain = "policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T10:00:00+08:00";
        assert!(office.well(explain).await.contains("would be allowed"));
        for (n, on) in ["--number 13810000000", "--person-of bank/C0", "--case bank/C0", "--client bank", "--everything"]
            .into_iter().enumerate()
        {
            let added = office.well(&format!("bars add {on} --kind complaint --reason wrote~to~the~bank --by lin")).await;
            assert!(added.starts_with(&format!("bar {};", n + 1)), "{added}");
            let again = office.well(&format!("bars add {on} --kind complaint --reason x")).await;
            assert!(again.contains("stood already"), "{again}");
            let why = office.well(explain).await;
            assert!(why.contains("would be refused: complaint_hold") && why.contains("REFUSED"), "{why}");
            let listed = office.well("bars list").await;
            assert!(listed.contains("wrote to the bank") && listed.contains("lin"), "{listed}");
            assert!(!listed.contains("1381000"), "{listed}");
            office.well(&format!("bars lift {} --reason settled~with~them", n + 1)).await;
            assert!(office.well(explain).await.contains("would be allowed"));
        }
        office.ill("bars lift 1 --reason x", "lifted before").await;
        office.ill("bars lift 99 --reason x", "no such bar").await;
        office.ill("bars add --number 12 --reason x", "number: ").await;
        office.ill("bars add --case bank/C9 --reason x", "has no case").await;
        office.ill("bars add --case C0 --reason x", "CLIENT/REFERENCE").await;
        office.ill("bars add --client nobody --reason x", "no client").await;
        office.ill("bars add --everything --kind hunch --reason x", "suspected_fraud").await;
        office.ill("bars add --everything --reason x --until 2020-01-01T00:00:00Z", "before now").await;
        assert!(office.well("bars list --all --case bank/C0").await.contains("lifted"));
        let mut tx = office.test.db.read().await.unwrap();
        assert!(matches!(access::verify(&mut tx).await.unwrap(), Verdict::Intact { rows: 15, .. }));
    }

    async fn a_list_of_numbers_is_barred_whole_or_not_at_all(test: Test) {
        floor(&test.db, 1).await;
        let office = Office::new(test);
        let bad = office.file("bad.csv", "number,reason\n13810000000,asked\n12,\n,\n13810000001,\"two\nlines\"\n");
        let line = format!("bars import {} --reason list~of~the~bank", shown(&bad));
        office.ill(&line, "line 3, column number").await;
        office.ill(&line, "column reason").await;
        office.ill(&line, "bad.csv").await;
        assert!(!office.well("bars list").await.contains("do_not_call"));
        let good = office.file("good.csv", "number\n13810000000\n13810000099\n");
        let line = format!("bars import {} --reason list~of~the~bank", shown(&good));
        assert_eq!(office.well(&line).await, "2 numbers: 2 newly barred\n");
        assert_eq!(office.well(&line).await, "2 numbers: 0 newly barred\n");
        assert!(office.well("bars list --number 13810000099").await.contains("list of the bank"));
        office.ill("bars list --number 13810000077", "never entered").await;
        let heads = office.file("heads.csv", "nummer\n13810000000\n");
        office.ill(&format!("bars import {} --reason x", shown(&heads)), "there is no column number").await;
    }

    async fn an_agreement_opens_an_hour_once_it_is_proven_and_approved(test: Test) {
        let office = Office::new(test);
        let recording = office.recording().await;
        office.account("lin", Role::Lead, None, Scope::All).await;
        office.account("wang", Role::Compliance, None, Scope::All).await;
        let late = "policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T21:30:00+08:00";
        assert!(office.well(late).await.contains("would be refused: outside_window"));
        let propose = |rest: &str| format!(
            "agreements propose --case bank/C0 --number 13810000000 --hours 21:00-22:00 --until 2026-12-24T00:00:00+08:00 {rest}"
        );
        let unsigned = format!("--recording {recording} --offset-s 12");
        office.ill(&propose(&unsigned), "--by").await;
        let proof = format!("{unsigned} --by lin");
        let entered = office.well(&propose(&format!("{proof} --uses 2"))).await;
        assert_eq!(entered, "agreement 1; it counts\n");
        assert!(office.well(late).await.contains("would be allowed"), "by the agreement");
        assert!(office.well("agreements show 1").await.contains("12.000 s"));
        office.well("agreements revoke 1 --reason taken~back --by wang").await;
        assert!(office.well(late).await.contains("would be refused: outside_window"));
        let shown = office.well("agreements list --case bank/C0").await;
        assert!(shown.contains("revoked") && shown.contains("0 of 2"), "{shown}");
        office.ill(&propose(&format!("--recording {recording} --offset-s 60 --by lin")), "not within the recording's 60000 ms").await;
        office.ill(&propose("--recording 01890000-0000-7000-8000-000000000000 --offset-s 1 --by lin"), "no recording").await;
        office.ill(&propose("--by lin"), "--recording").await;
        let wrong = propose(&proof).replace("21:00-22:00", "21-22");
        office.ill(&wrong, "sat,sun=10:00-12:00").await;
        office.ill(&propose(&proof).replace("2026-12-24", "2026-01-01"), "ends after it begins").await;
        office.ill(&propose(&proof).replace("13810000000", "13810000001"), "no such number").await;
        let exe = office.file("letter.pdf", "MZ");
        office.ill(&propose(&format!("--letter {} --by lin", exe.display())), "neither PDF nor JPEG nor PNG").await;
        // The bank wants a second person.
        office.file(
            "rules/bank.toml",
            "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[agreements]\nclause = 'contract 4'\ntwo_persons = true\n",
        );
        let waits = office.well(&propose(&proof)).await;
        assert!(waits.contains("waits for a second person"), "{waits}");
        let why = office.well(late).await;
        assert!(why.contains("would be refused") && why.contains("second person has to approve"), "{why}");
        office.ill("agreements approve 2 --by lin", "a second person has to").await;
        office.ill("agreements approve 2 --by l1n", "no account of this name").await;
        office.ill("agreements approve 2", "--by").await;
        office.well("agreements approve 2 --by wang").await;
        assert!(office.well(late).await.contains("would be allowed"));
        office.ill("agreements refuse 2 --reason x --by zhao", "is active").await;
        // No agreement opens what is barred.
        office.well("bars add --number 13810000000 --reason asked").await;
        assert!(office.well(late).await.contains("would be refused: do_not_call"));
    }

    async fn only_another_person_of_the_house_approves_an_agreement(test: Test) {
        let office = Office::new(test);
        let recording = office.recording().await;
        let mut tx = office.test.db.begin().await.unwrap();
        let other = clients::ensure(&mut tx, "other", "Other", NOW_MS).await.unwrap().id;
        let agent = crate::store::agents::ensure(&mut tx, "A1", "Agent One", "8001", NOW_MS).await.unwrap().id;
        tx.commit().await.unwrap();
        office.account("lin", Role::Agent, Some(agent), Scope::All).await;
        office.account("lin-lead", Role::Lead, Some(agent), Scope::All).await;
        office.account("zhao", Role::Agent, None, Scope::All).await;
        office.account("stranger", Role::Compliance, None, Scope::Clients(vec![other])).await;
        office.account("gone", Role::Compliance, None, Scope::All).await;
        office.account("wang", Role::Compliance, None, Scope::All).await;
        let mut tx = office.test.db.begin().await.unwrap();
        users::revoke(&mut tx, "gone", NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        office.file(
            "rules/bank.toml",
            "base = 'cn-plan'\nname = 'bank'\nrevision = '1'\n[agreements]\nclause = 'contract 4'\ntwo_persons = true\n",
        );
        let propose = |by: &str| format!(
            "agreements propose --case bank/C0 --number 13810000000 --hours 21:00-22:00 --until 2026-12-24T00:00:00+08:00 \
             --recording {recording} --offset-s 12 --by {by}"
        );
        office.ill(&propose("nobody"), "no account of this name").await;
        office.ill(&propose("gone"), "this account is barred").await;
        office.ill(&propose("stranger"), "does not see client bank").await;
        office.well(&propose("lin")).await;
        for (by, why) in [
            ("nobody", "no account of this name"),
            ("gone", "this account is barred"),
            ("zhao", "the role agent may not approve"),
            ("stranger", "does not see client bank"),
            ("lin-lead", "a second person has to"),
        ] {
            office.ill(&format!("agreements approve 1 --by {by}"), why).await;
        }
        assert!(office.well("agreements list").await.contains("waiting"));
        // What an older version took from anybody is nobody's word.
        let mut tx = office.test.db.begin().await.unwrap();
        let sql = crate::store::sql::Sql { act: "age", text: "UPDATE agreements SET proposed_by = 'command line'" };
        tx.execute(&sql, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        office.ill("agreements approve 1 --by wang", "has no account").await;
        let mut tx = office.test.db.begin().await.unwrap();
        let sql = crate::store::sql::Sql { act: "mend", text: "UPDATE agreements SET proposed_by = 'lin'" };
        tx.execute(&sql, vec![]).await.unwrap();
        tx.commit().await.unwrap();
        office.well("agreements approve 1 --by wang").await;
    }

    async fn somebody_who_shares_a_number_is_named_in_an_agreement(test: Test) {
        let office = Office::new(test);
        let recording = office.recording().await;
        let mut tx = office.test.db.begin().await.unwrap();
        let floor = floor_case(&mut tx).await;
        let (friend, _) = contact_points::ensure(&mut tx, floor, "Friend", Relation::Friend, &number(0), NOW_MS).await.unwrap();
        let friend = contact_points::target(&mut tx, friend).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let line = format!(
            "agreements propose --case bank/C0 --number 13810000000 --hours 21:00-22:00 --until 2026-12-24T00:00:00+08:00 \
             --recording {recording} --offset-s 12 --by lin"
        );
        office.account("lin", Role::Lead, None, Scope::All).await;
        office.ill(&line, &format!("{} (friend)", friend.contact)).await;
        office.well(&format!("{line} --contact {}", friend.contact)).await;
        let both = office.well("policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T21:30:00+08:00").await;
        assert_eq!(both.matches("), number +86").count(), 2, "{both}");
    }

    async fn rule_files_are_checked_shown_and_remembered(test: Test) {
        floor(&test.db, 1).await;
        let office = Office::new(test);
        let looser = office.file("looser.toml", "base = 'cn-plan'\nname = 'x'\nrevision = '1'\n[ring]\nclause = 'x'\nguard_ms = 1\n");
        office.ill(&format!("policy check {}", shown(&looser)), "line 6").await;
        let unknown = office.file("unknown.toml", "base = 'cn-plan'\nname = 'x'\nrevision = '1'\nrign = 1\n");
        office.ill(&format!("policy check {}", shown(&unknown)), "rign").await;
        let gbk = office.dir.path().join("gbk.toml");
        std::fs::write(&gbk, b"base = 'cn-plan'\nname = '\xd2\xf8\xd0\xd0'\n").unwrap();
        office.ill(&format!("policy check {}", shown(&gbk)), "line 2: not UTF-8").await;
        let us = office.file("us.toml", "base = 'us-regf'\nname = 'us'\nrevision = '1'\n");
        let told = office.well(&format!("policy check {}", shown(&us))).await;
        assert!(told.contains("warning") && told.contains("us-regf") && told.contains("cn-plan"), "{told}");
        let text = "base = 'cn-plan'\nname = 'bank'\nrevision = '7'\n[ring]\nclause = 'x'\nguard_ms = 9000\n";
        let good = office.file("rules/bank.toml", text);
        assert!(office.well(&format!("policy check {}", shown(&good))).await.contains("good"));
        assert!(office.well("policy show --client bank").await.contains("guard_ms = 9000"));
        assert!(office.well("policy show").await.contains("guard_ms = 5000"));
        let rules = Desk::new(&office.config, &office.test.db, &ShortCodes::default()).unwrap().rulebook().unwrap();
        rules.note(&office.test.db, "system", NOW_MS).await.unwrap();
        let history = office.well("policy history --client bank").await;
        assert!(history.contains("bank.toml") && history.contains("every other"), "{history}");
        // What decides is shown, also while the files say something else or nothing at all.
        let shown_now = office.well("policy show --client bank").await;
        assert!(shown_now.contains("in force at node floor") && !shown_now.contains("warning"), "{shown_now}");
        office.file("rules/bank.toml", &text.replace("9000", "9500"));
        let stale = office.well("policy show --client bank").await;
        assert!(stale.contains("guard_ms = 9000") && stale.contains("warning: the files say something else now"), "{stale}");
        assert!(office.well("policy show --client bank --files").await.contains("guard_ms = 9500"));
        let explain = "policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T20:59:36+08:00";
        assert!(office.well(explain).await.contains("warning: the files say something else now"));
        assert!(!office.well(&format!("{explain} --files")).await.contains("warning"));
        office.file("rules/bank.toml", &text.replace("9000", "1"));
        assert!(office.well("policy show").await.contains("the files cannot be loaded"));
        office.ill("policy show --files", "line 6").await;
        office.ill("policy history --client nobody", "no client").await;
        office.ill("policy show --client nobody", "no client").await;
        // Any set that ever decided can be read by its hash.
        let hash = stale.lines().find_map(|line| line.strip_prefix("# SHA-256 ")).unwrap();
        let by_hash = office.well(&format!("policy show --sha256 {hash}")).await;
        assert!(by_hash.contains("guard_ms = 9000") && by_hash.contains("+7\""), "{by_hash}");
        office.ill(&format!("policy show --sha256 {}", "0".repeat(64)), "policy history").await;
    }

    async fn special_days_shut_the_window_and_are_replaced_by_year(test: Test) {
        floor(&test.db, 1).await;
        let office = Office::new(test);
        let explain = "policy explain --case bank/C0 --number 13810000000 --at 2027-02-06T10:00:00+08:00";
        assert!(office.well(explain).await.contains("would be allowed"));
        let bad = office.file("bad.csv", "date,name,hours\n2027-13-01,x,\n2027-02-06,,09-10\n2027-02-06,y,\n");
        let import = |file: &Path| format!("policy special-days import {} --region cn", file.display());
        office.ill(&import(&bad), "line 2, column date").await;
        office.ill(&import(&bad), "line 3, column hours").await;
        office.ill(&import(&bad), "line 3, column name").await;
        office.ill(&import(&bad), "twice").await;
        let good = office.file("good.csv", "date,name,hours\n2027-02-06,春节,\n2027-02-20,补班,09:00-12:00;14:00-18:00\n");
        let done = office.well(&import(&good)).await;
        assert_eq!(done, "2 special days of CN: 2 new, 0 changed, 0 as known; 0 removed\n");
        let why = office.well(explain).await;
        assert!(why.contains("would be refused: outside_window") && why.contains("春节"), "{why}");
        let list = office.well("policy special-days list --from 2027-01-01").await;
        assert!(list.contains("no calls") && list.contains("09:00-12:00, 14:00-18:00"), "{list}");
        let none = office.file("none.csv", "date,name,hours\n2027-10-01,国庆,\n");
        // No day falls away by the way.
        office.ill(&import(&none), "2027-02-06 春节, 2027-02-20 补班").await;
        office.ill(&import(&none), "--replace").await;
        assert!(office.well(explain).await.contains("would be refused"), "nothing was done");
        let done = office.well(&format!("{} --replace", import(&none))).await;
        assert!(done.contains("1 new, 0 changed, 0 as known; 2 removed"), "{done}");
        assert!(office.well(explain).await.contains("would be allowed"), "the year was replaced");
        office.ill(&import(&good).replace("cn", "atlantis"), "region").await;
        // A part of a country is said to hold for all of it, and days are taken back by name.
        let done = office.well(&import(&good).replace(" cn", " cn-xj")).await;
        assert!(done.contains("hold for every number of CN"), "{done}");
        assert!(office.well(explain).await.contains("would be refused"));
        let remove = "policy special-days remove --region cn-xj --by lin";
        office.ill(remove, "--date").await;
        office.ill(&format!("{remove} --date 2027-02-06 --date 2027-02-07"), "2027-02-07 is no special day of CN-XJ").await;
        let gone = office.well(&format!("{remove} --date 2027-02-06")).await;
        assert_eq!(gone, "1 special days removed: 2027-02-06 春节\n");
        assert!(office.well(explain).await.contains("would be allowed"));
        assert!(office.well(&format!("{remove} --year 2027")).await.contains("2027-02-20 补班"));
        office.ill(&format!("{remove} --year 2027"), "no special days in that year").await;
    }

    async fn calls_of_other_agencies_are_imported_once_and_counted(test: Test) {
        floor(&test.db, 2).await;
        let office = Office::new(test);
        let explain = "policy explain --case bank/C0 --number 13810000000 --at 2026-11-23T10:30:00+08:00";
        let import = |file: &Path| format!("policy outside-counts import {} --client bank", file.display());
        let bad = office.file(
            "bad.csv",
            "case,date,attempts,connected,source,number\n\
             C0,2026-11-23,3,3,agency B,\nC9,2026-11-23,1,1,B,\nC0,yesterday,1,1,B,\nC0,2026-11-23,1,2,B,\nC0,2026-11-23,1,1,B,13810000001\n\
             C0,2026-12-24,1,1,B,\nC0,2026-11-23,3,3,agency B,\nC0,2026-11-23,x,1,,\n",
        );
        for fault in [
            "line 3, column case", "line 4, column date", "line 5, column connected", "line 6, column number",
            "line 7, column date", "line 8", "line 9, column attempts",
        ] {
            office.ill(&import(&bad), fault).await;
        }
        assert!(office.well(explain).await.contains("would be allowed"), "nothing half done");
        let partly = office.well(&format!("{} --good-rows", import(&bad))).await;
        assert!(partly.contains("8 rows: 1 new, 0 changed, 0 as known, 7 faulty"), "{partly}");
        let why = office.well(explain).await;
        assert!(why.contains("would be refused: cap_reached"), "{why}");
        let good = office.file("good.csv", "case,date,attempts,connected,source\nC0,2026-11-23,3,2,agency B\n");
        assert!(office.well(&import(&good)).await.contains("1 rows: 0 new, 1 changed"));
        assert!(office.well(&import(&good)).await.contains("0 new, 0 changed, 1 as known"));
        assert!(office.well(explain).await.contains("would be allowed"), "two of three");
        assert!(office.well("policy outside-counts list --case bank/C0").await.contains("agency B"));
        // Of rows that contradict each other the higher counts, in whatever order they stand.
        for (n, [first, second]) in [["0,0", "5,3"], ["5,3", "0,0"]].into_iter().enumerate() {
            let rows = format!("case,date,attempts,connected,source\nC1,2026-11-23,{first},z{n}\nC1,2026-11-23,{second},z{n}\n");
            let partly = office.well(&format!("{} --good-rows", import(&office.file("two.csv", &rows)))).await;
            assert!(partly.contains("line 3: line 2 says something of the same day") && partly.contains("1 new"), "{partly}");
            let listed = office.well("policy outside-counts list --case bank/C1").await;
            let of = listed.lines().find(|line| line.contains(&format!("z{n}"))).unwrap();
            assert!(of.contains(" 5 ") && of.contains(" 3 "), "{listed}");
        }
    }

    async fn workbooks_are_read_as_well_as_text(test: Test) {
        floor(&test.db, 1).await;
        let office = Office::new(test);
        let explain = |at: &str| format!("policy explain --case bank/C0 --number 13810000000 --at {at}");
        let counts = office.workbook("counts.xlsx", &[
            &["case", "date", "attempts", "connected", "source", "number"],
            &["C0", "2026-11-23", "3", "3", "agency B", "13810000000"],
        ]);
        let told = office.well(&format!("policy outside-counts import {} --client bank", shown(&counts))).await;
        assert!(told.contains("1 rows: 1 new"), "{told}");
        let why = office.well(&explain("2026-11-23T10:30:00+08:00")).await;
        assert!(why.contains("would be refused: cap_reached"), "{why}");
        let days = office.workbook("days.xlsx", &[
            &["date", "name", "hours"],
            &["2027-02-06", "春节", ""],
            &["2027-02-20", "补班", "09:00-12:00;14:00-18:00"],
        ]);
        assert!(office.well(&format!("policy special-days import {} --region cn", shown(&days))).await.starts_with("2 special"));
        let why = office.well(&explain("2027-02-06T10:00:00+08:00")).await;
        assert!(why.contains("would be refused: outside_window") && why.contains("春节"), "{why}");
        let bars = office.workbook("bars.xlsx", &[&["number", "reason"], &["13810000000", "asked"], &["13810000099", ""]]);
        let barred = office.well(&format!("bars import {} --reason list~of~the~bank", shown(&bars))).await;
        assert_eq!(barred, "2 numbers: 2 newly barred\n");
        assert!(office.well("bars list --number 13810000000").await.contains("asked"));
        // The lists tell which files that were, and what became of their rows.
        let lists = office.well("policy lists").await;
        for word in ["counts.xlsx", "outside_counts", "bars.xlsx", "done"] {
            assert!(lists.contains(word), "{lists}");
        }
        // Faults are named by row and column, as in text.
        let bad = office.workbook("bad.xlsx", &[
            &["case", "date", "attempts", "connected", "source"],
            &["C0", "2026-11-23", "1", "2", "B"],
            &["C9", "2026-11-23", "1", "1", "B"],
        ]);
        for fault in ["line 2, column connected", "line 3, column case"] {
            office.ill(&format!("policy outside-counts import {} --client bank", shown(&bad)), fault).await;
        }
        let bad = office.workbook("bad.xlsx", &[&["date", "name", "hours"], &["2027-02-06", "x", "09-10"]]);
        office.ill(&format!("policy special-days import {} --region cn", shown(&bad)), "line 2, column hours").await;
        let bad = office.workbook("bad.xlsx", &[&["number"], &["13810000000"], &["12"]]);
        office.ill(&format!("bars import {} --reason x", shown(&bad)), "line 3, column number").await;
    }
}

async fn floor_case(tx: &mut crate::store::Tx) -> crate::ids::CaseId {
    let bank = crate::store::clients::by_code(tx, "bank")
        .await
        .unwrap()
        .unwrap();
    let case = crate::store::cases::by_reference(tx, bank.id, "C0")
        .await
        .unwrap();
    case.unwrap().id
}

#[path = "receipt_tests.rs"]
mod receipt_tests;
