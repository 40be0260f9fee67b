//! Words of cells that have a meaning: what somebody is to the debt, yes and no, days.

use crate::{cases::template::Column, policy::Relation};

pub(super) fn relation(word: &str, column: &Column) -> Option<Relation> {
    if let Some(told) = column.words.get(word) {
        return Relation::parse(told);
    }
    Relation::parse(&word.to_ascii_lowercase()).or(match word {
        "本人" | "主卡人" | "借款人" => Some(Relation::Debtor),
        "共同借款人" | "共债人" | "共借人" => Some(Relation::JointDebtor),
        "担保人" | "保证人" => Some(Relation::Guarantor),
        "配偶" | "夫妻" | "丈夫" | "妻子" | "父母" | "父亲" | "母亲" | "父子" | "母子" | "子女"
        | "儿子" | "女儿" | "兄弟" | "姐妹" | "兄弟姐妹" | "亲属" | "亲戚" | "直系亲属" => {
            Some(Relation::Relative)
        }
        "同事" | "单位" | "公司" | "领导" => Some(Relation::Colleague),
        "朋友" | "同学" => Some(Relation::Friend),
        "其他" | "其它" | "联系人" => Some(Relation::Other),
        _ => None,
    })
}

pub(super) fn settled(text: &str, column: &Column) -> Result<bool, String> {
    let word = column.words.get(text).map_or(text, String::as_str);
    match word.to_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "是" | "结清" | "已结清" => Ok(true),
        "0" | "no" | "n" | "false" | "否" | "未结清" | "部分" => Ok(false),
        _ => Err("must be yes or no (是 or 否)".to_owned()),
    }
}

/// A day: the forms that begin with the year by themselves, others by the template's formats. An hour behind it is left.
pub(super) fn date(text: &str, formats: &[String]) -> Result<String, String> {
    let checked = |date: jiff::civil::Date| {
        (1900..=2200)
            .contains(&date.year())
            .then(|| date.to_string())
            .ok_or_else(|| "not a day between 1900 and 2200".to_owned())
    };
    for format in formats {
        if let Ok(date) = jiff::civil::Date::strptime(format, text) {
            return checked(date);
        }
    }
    let day = text
        .split_once(['T', ' '])
        .map_or(text, |(day, _)| day)
        .trim();
    for format in ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日"] {
        if let Ok(date) = jiff::civil::Date::strptime(format, day) {
            return checked(date);
        }
    }
    if day.len() == 8
        && let Ok(date) = jiff::civil::Date::strptime("%Y%m%d", day)
    {
        return checked(date);
    }
    Err("not a day: write 2026-11-23, or name the form in the template's formats".to_owned())
}
