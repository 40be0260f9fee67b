//! What rows say, and what is wrong with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::cases::{
    fields,
    sheet::{self, Source},
    template::{self, Template},
};

fn reading(dir: &std::path::Path) -> Reading {
    Reading {
        client: ClientId::new(1),
        region: Region::CN,
        short: ShortCodes::default(),
        key: Some(fields::tests::key(dir).into()),
    }
}

/// Reads a whole file, each row on its own.
fn rows(template: &str, text: &str) -> Result<Vec<Result<Entry, Vec<Fault>>>, Vec<Fault>> {
    let dir = tempfile::tempdir().unwrap();
    let reading = reading(dir.path());
    let template = Template::parse(template).unwrap();
    let mut rows =
        sheet::open(&Source::Bytes(text.as_bytes().into()), &template.options()).unwrap();
    let bound = Bound::new(&template, &rows.next().unwrap().unwrap())?;
    let mut seen = Seen::default();
    Ok(rows
        .map(|row| {
            let mut entry = read(&bound, &row.unwrap(), &reading)?;
            seen.check(&mut entry, &bound)?;
            Ok(entry)
        })
        .collect())
}

fn card() -> &'static str {
    template::shipped("credit-card").unwrap()
}

fn case(entry: &Result<Entry, Vec<Fault>>) -> &CaseEntry {
    match &entry.as_ref().unwrap().what {
        What::Case(case) => case,
        What::Payment(_) => panic!("a payment"),
    }
}

fn said(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_row_with_several_contacts_is_read_whole() {
    let text = "案件编号,姓名,身份证号,卡号,委案金额,逾期天数,开户日期,本人电话,家庭地址,联系人1姓名,联系人1关系,联系人1电话\n\
                C1,王小明,11010519491231002X,4111111111111112,\"1,234.50\",95,2020年1月2日,13800138000/010 8888 8888,北京市,李红,配偶,13900139000\n";
    let rows = rows(card(), text).unwrap();
    let entry = case(&rows[0]);
    assert_eq!(entry.amounts, [Some(12_345_000), None, None, None, None]);
    assert_eq!(entry.overdue_days, Some(95));
    assert_eq!(entry.fields["opened_on"], "2020-01-02");
    assert_eq!(entry.card.as_ref().unwrap().last4, "1112");
    assert_eq!(
        rows[0].as_ref().unwrap().warnings,
        1,
        "the card's check digit does not fit"
    );
    let shown: Vec<_> = entry
        .people
        .iter()
        .map(|p| {
            (
                p.relation,
                p.name.as_str(),
                p.numbers.len(),
                p.addresses.len(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (Relation::Debtor, "王小明", 2, 1),
            (Relation::Relative, "李红", 1, 0)
        ]
    );
}

#[test]
fn a_column_that_is_missing_is_named_with_those_that_are_there() {
    let faults = said(&rows(card(), "案件编号,金额\nC1,1\n").unwrap_err());
    assert_eq!(faults.len(), 2);
    assert!(
        faults[0].starts_with(
            "line 1, column 姓名: this column is missing (also by the name of 客户姓名"
        ) && faults[0].ends_with("the file has: 案件编号, 金额"),
        "{faults:?}"
    );
    let headless = said(&rows(card(), "C1,王小明,13800138000\n").unwrap_err()).join("\n");
    assert!(
        headless.contains("does the file have heads") && !headless.contains("王小明"),
        "{headless}"
    );
    let twice = said(&rows(card(), "案件编号,案件号,姓名,委案金额\n").unwrap_err());
    assert_eq!(
        twice,
        ["line 1, column 案件编号: this column stands there twice, in A and B"]
    );
    let strict = template::shipped("simple").unwrap();
    let other = said(&rows(strict, "case,debtor,name,relation,number,amount\n").unwrap_err());
    assert!(
        other[0].starts_with("line 1, column F: the template knows no such column"),
        "{other:?}"
    );
}

#[test]
fn every_fault_is_named_with_row_and_column_and_repeats_nothing() {
    let simple = template::shipped("simple").unwrap();
    let text = "case,debtor,name,relation,number\n\
        C1,D1,王小明,debtor,13800138000\n\
        C2,,王小明,boss,12\n\
        C3,D3,王小明\n\
        C1,D9,王小明,debtor,13800138001\n\
        C4,D4,\"a\u{7}b\",debtor,13800138002x\n\
        C5,D5,N,配偶,13800138003\n";
    let found: Vec<_> = rows(simple, text)
        .unwrap()
        .into_iter()
        .flat_map(|row| row.err().unwrap_or_default())
        .map(|fault| {
            (
                fault.line,
                fault.column.clone().unwrap_or_default(),
                fault.to_string(),
            )
        })
        .collect();
    let places: Vec<_> = found
        .iter()
        .map(|(line, column, _)| (*line, column.as_str()))
        .collect();
    let expected = [
        (3, "debtor"),
        (3, "number"),
        (3, "relation"),
        (4, "number"),
        (4, "relation"),
        (5, "debtor"),
        (6, "number"),
        (6, "name"),
    ];
    assert_eq!(places, expected);
    for (_, _, text) in found {
        assert!(
            !text.contains("王小明") && !text.contains("13800138"),
            "{text}"
        );
    }
}

#[test]
fn rows_of_one_case_that_contradict_each_other_are_named() {
    let text = "案件编号,姓名,委案金额,地区,本人电话\n\
                C1,王小明,100,北京,13800138000\nC1,王小明,100,,13800138001\nC1,王小明,200,北京,\nC2,张伟,200,,\n";
    let rows = rows(card(), text).unwrap();
    assert!(rows[0].as_ref().unwrap().first && !rows[1].as_ref().unwrap().first);
    assert_eq!(
        said(rows[2].as_ref().unwrap_err()),
        [
            "line 4, column 委案金额: says something else than line 2, or the rows right behind it, about the same case or payment"
        ]
    );
    assert!(rows[3].is_ok());
}

#[test]
fn an_apostrophe_before_a_formula_is_taken_off_and_formulas_are_text() {
    let text = "案件编号,姓名,委案金额,地区,本人电话\nC1,=HYPERLINK(1),'-5,'=1+1,'+8613800138000\n";
    let rows = rows(card(), text).unwrap();
    let entry = case(&rows[0]);
    assert_eq!(entry.name.as_deref(), Some("=HYPERLINK(1)"));
    assert_eq!(entry.amounts[0], Some(-50_000));
    assert_eq!(entry.region.as_deref(), Some("=1+1"));
    assert_eq!(entry.people[0].numbers[0].dial_string(), "+8613800138000");
}

#[test]
fn a_payment_is_read_and_its_faults_are_named() {
    let text = "案件编号,流水号,还款金额,还款日期,是否结清\n\
                C1,P1,100.50,2026-11-23 10:00:00,是\nC1,P2,0,2026-11-23,\nC1,,5,gestern,vielleicht\nC1,P1,99,2026-11-23,是\n";
    let rows = rows(template::shipped("repayments").unwrap(), text).unwrap();
    let What::Payment(payment) = &rows[0].as_ref().unwrap().what else {
        panic!()
    };
    assert_eq!(
        (payment.e4, payment.paid_on.as_str(), payment.settles),
        (1_005_000, "2026-11-23", true)
    );
    assert_eq!(
        said(rows[1].as_ref().unwrap_err()),
        ["line 3, column 还款金额: a payment of nothing"]
    );
    let places: Vec<_> = rows[2]
        .as_ref()
        .unwrap_err()
        .iter()
        .map(|f| f.column.clone().unwrap())
        .collect();
    assert_eq!(places, ["流水号", "还款日期", "是否结清"]);
    assert!(said(rows[3].as_ref().unwrap_err())[0].contains("than line 2"));
}

#[test]
fn days_are_read_year_first_or_as_the_template_says() {
    for text in [
        "2026-11-23",
        "2026/11/23",
        "20261123",
        "2026.11.23",
        "2026年11月23日",
        "2026-11-23T09:00:00",
    ] {
        assert_eq!(date(text, &[]).unwrap(), "2026-11-23", "{text}");
    }
    assert_eq!(
        date("23/11/2026", &["%d/%m/%Y".into()]).unwrap(),
        "2026-11-23"
    );
    for text in [
        "23/11/2026",
        "11-23",
        "2026-13-01",
        "",
        "9999-01-01",
        "46349",
    ] {
        assert!(date(text, &[]).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_tables_never_panic(cells in proptest::collection::vec("[\\PC\\n\\t]{0,12}", 0..40), width in 1usize..8) {
        let mut text = "案件编号,姓名,身份证号,卡号,委案金额,逾期天数,本人电话\n".to_owned();
        for row in cells.chunks(width) {
            let row: Vec<String> = row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
            text.push_str(&row.join(","));
            text.push('\n');
        }
        let _ = rows(card(), &text);
    }
}

#[test]
fn a_later_row_may_say_what_the_first_one_did_not_if_it_stands_right_behind() {
    let template = "kind = \"cases\"\nname = \"x\"\n[[column]]\nto = \"case\"\nheads = [\"case\"]\n\
                    [[column]]\nto = \"placed\"\nheads = [\"placed\"]\n[[column]]\nto = \"overdue_days\"\nheads = [\"days\"]\n";
    let text =
        "case,placed,days\nC1,,\nC1,500,\nC1,500,9\nC2,1,\nC2,2,\nC1,,8\nC3,,\nC4,,\nC3,7,\n";
    let rows = rows(template, text).unwrap();
    let faults: Vec<_> = rows
        .iter()
        .flat_map(|row| row.as_ref().err())
        .flat_map(|f| said(f))
        .collect();
    assert_eq!(
        faults,
        [
            "line 6, column placed: says something else than line 5, or the rows right behind it, about the same case or payment",
            "line 7, column days: says something else than line 2, or the rows right behind it, about the same case or payment",
            "line 10, column placed: line 8 of the same case is silent about this: say it there, or put the rows of the case one behind another",
        ]
    );
}

#[test]
fn three_numbers_of_one_cell_that_are_none_are_one_fault_and_surplus_values_one_each() {
    let text = "案件编号,姓名,委案金额,本人电话\nC1,N,1,12/12/12\nC2,M,1,000,13800138000\n";
    let rows = rows(card(), text).unwrap();
    assert_eq!(rows[0].as_ref().unwrap_err().len(), 1);
    let surplus = said(rows[1].as_ref().unwrap_err()).join("\n");
    assert!(
        surplus.contains("line 3, column E: a value behind the last head"),
        "{surplus}"
    );
}
