//! Files brought in, on both databases: what they leave behind, and what they do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod broken_off;
mod changes;
mod files;

use std::path::Path;

use super::*;
use crate::{
    cases::{
        entry::Reading,
        fields,
        sheet::{self, Source},
        template::{self, Template},
    },
    clock::{TestClock, TrustMode},
    phone::{Region, ShortCodes},
    store::{
        clients,
        imports::{self, State},
        sql::Sql,
        tests::{NOW_MS, Test},
    },
};

/// What a test says about a file; the rest is usual.
struct File<'a> {
    template: &'a str,
    bytes: &'a [u8],
    batch: &'a str,
    client: &'a str,
    mode: Mode,
    preview: bool,
    rejects: Option<&'a Path>,
    balance_on: Option<Date>,
    placed: Option<Date>,
}

const SIMPLE: &str = "\u{feff}case,debtor,name,relation,number\n\
    C1,D1,王小明,debtor,138 0013 8000\n\
    C1,D1,\"李, 红\",relative,+8613900139000\n\
    C2,D2,张伟,debtor,010 8888 8888\n";

const WITH_STATE: &str = r#"
kind = "cases"
name = "with-state"
[[column]]
to = "case"
heads = ["case"]
[[column]]
to = "debtor"
heads = ["debtor"]
[[column]]
to = "name"
heads = ["name"]
[[column]]
to = "balance"
heads = ["balance"]
[[column]]
to = "state"
heads = ["state"]
[[contact]]
name = { heads = ["name"] }
relation_column = { heads = ["relation"] }
numbers = [{ heads = ["number"] }]
"#;

fn file<'a>(template: &'a str, text: &'a str) -> File<'a> {
    File {
        template,
        bytes: text.as_bytes(),
        batch: "B1",
        client: "bank",
        mode: Mode::AllOrNothing,
        preview: false,
        rejects: None,
        balance_on: None,
        placed: None,
    }
}

fn clock() -> Clock {
    Clock::test(TestClock::running(NOW_MS), TrustMode::Host)
}

fn placed() -> Placed {
    Placed::told_or_today(None, NOW_MS, &TimeZone::UTC)
}

async fn client(test: &Test, code: &str) -> Client {
    let mut tx = test.db.begin().await.unwrap();
    let client = clients::ensure(&mut tx, code, "Bank", NOW_MS)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    client
}

/// `rows` for the template, all or nothing, as the lot B1.
fn job(client: Client, template: &str, rows: RowSource) -> Job {
    let template = Template::parse(template::shipped(template).unwrap_or(template)).unwrap();
    Job {
        reading: Reading {
            client: client.id,
            region: Region::CN,
            short: ShortCodes::default(),
            key: None,
        },
        batch: (template.kind == Kind::Cases).then(|| "B1".to_owned()),
        placed: placed(),
        balance_on: None,
        today: today(NOW_MS, &TimeZone::UTC),
        client,
        template,
        template_id: None,
        rows,
        again: None,
        file_name: "file.csv".into(),
        file_sha256: "0".into(),
        mode: Mode::AllOrNothing,
        preview: false,
        rejects: None,
        actor: "tester".into(),
    }
}

fn rows_of(template: &str, bytes: &[u8]) -> RowSource {
    let template = Template::parse(template::shipped(template).unwrap_or(template)).unwrap();
    Box::new(sheet::open(&Source::Bytes(bytes.into()), &template.options()).unwrap())
}

async fn bring(test: &Test, keys: &Path, file: File<'_>) -> Result<Report, ImportError> {
    let client = client(test, file.client).await;
    let rows = rows_of(file.template, file.bytes);
    let mut job = job(client, file.template, rows);
    job.reading.key = Some(fields::tests::key(keys).into());
    job.batch = job.batch.map(|_| file.batch.to_owned());
    job.mode = file.mode;
    job.preview = file.preview;
    job.rejects = file.rejects.map(Path::to_owned);
    job.balance_on = file.balance_on;
    job.placed = file.placed.map_or(job.placed, Placed::Told);
    let (template, bytes) = (file.template.to_owned(), file.bytes.to_owned());
    job.again = Some(Box::new(move || Ok(rows_of(&template, &bytes))));
    run(&test.db, &clock(), job, &mut |_| {}).await
}

/// Everything that cases are made of, in words that do not depend on ids.
async fn dump(test: &Test) -> Vec<String> {
    let sql = [
        "SELECT 'batch ' || code AS line FROM batches",
        "SELECT 'case ' || c.reference || ' ' || d.reference || ' ' || b.code || ' ' || c.state || ' ' || c.placed_e4 || ' ' ||
                c.balance_e4 || ' ' || c.interest_e4 || ' ' || c.repaid_e4 || ' ' || c.region || ' ' || c.fields || ' ' ||
                COALESCE(c.card_last4, '-') || ' ' || d.name || ' ' || c.bucket AS line
         FROM cases c JOIN debtors d ON d.id = c.debtor_id JOIN batches b ON b.id = c.batch_id",
        "SELECT 'point ' || c.reference || ' ' || t.name || ' ' || t.relation || ' ' || n.digits AS line
         FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN numbers n ON n.id = p.number_id
              JOIN cases c ON c.id = p.case_id",
        "SELECT 'address ' || t.name || ' ' || a.kind || ' ' || a.text AS line FROM addresses a JOIN contacts t ON t.id = a.contact_id",
        "SELECT 'contact ' || t.name || ' ' || t.relation AS line FROM contacts t",
        "SELECT 'payment ' || reference || ' ' || amount_e4 || ' ' || settles AS line FROM repayments",
        "SELECT 'person ' || COALESCE(p.identity_hash, '-') || ' ' || (SELECT COUNT(*) FROM debtors d WHERE d.person_id = p.id) AS line
         FROM persons p",
        "SELECT 'change ' || kind || ' ' || before || ' ' || after AS line FROM case_changes",
        "SELECT 'left over ' || import_id AS line FROM import_rows",
    ];
    let mut tx = test.db.read().await.unwrap();
    let mut lines = Vec::new();
    for text in sql {
        let rows = tx
            .fetch_all(&Sql { act: "dump", text }, vec![])
            .await
            .unwrap();
        lines.extend(rows.iter().map(|row| row.get::<String>("line").unwrap()));
    }
    lines.sort();
    lines
}

async fn states(test: &Test) -> Vec<(State, Counts)> {
    let mut tx = test.db.read().await.unwrap();
    let lines = imports::list(&mut tx, 50).await.unwrap();
    lines
        .into_iter()
        .rev()
        .map(|line| (line.state, line.counts))
        .collect()
}

async fn execute(test: &Test, text: &'static str) {
    let mut tx = test.db.begin().await.unwrap();
    tx.execute(
        &Sql {
            act: "prepare a test",
            text,
        },
        vec![],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

fn faults(error: ImportError) -> Vec<(u64, Option<String>, String)> {
    let ImportError::Faults(report) = error else {
        panic!("{error}")
    };
    report
        .faults
        .into_iter()
        .map(|f| (f.line, f.column, f.problem))
        .collect()
}

fn keys() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

const CARD: &str = "案件编号,客户号,姓名,身份证号,卡号,委案金额,利息,逾期天数,地区,产品,本人电话,家庭地址,联系人1,联系人1关系,联系人1电话\n\
    C1,D1,王小明,11010519491231002X,4111111111111111,1000.50,10,95,北京,金卡,13800138000,北京市1号,李红,配偶,13900139000\n\
    C2,D2,张伟,,,200,,10,上海,,13700137000,,,,\n";
