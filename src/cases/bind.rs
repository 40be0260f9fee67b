//! A template bound to the heads of one file: which column of the file each of its columns is.

use std::fmt;

use super::{
    sheet::{self, SheetRow},
    template::{self, Column, PersonColumns, Place, Template, To},
};

/// One fault of a file. Never repeats a name or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, or row of the sheet, from 1.
    pub line: u64,
    /// Head or letter of the column, where one is at fault.
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = &self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl From<sheet::SheetError> for Fault {
    fn from(error: sheet::SheetError) -> Self {
        Self {
            line: error.line.unwrap_or(1),
            column: error.column.map(sheet::letters),
            problem: error.problem,
        }
    }
}

/// Head of the column that the file of faulty rows adds; left out when it is fed back.
pub const ERROR_HEAD: &str = "ringfence_error";

/// Where the columns of a person stand.
#[derive(Debug, Clone)]
pub(super) struct PersonAt {
    /// Its place in the template.
    pub of: usize,
    pub relation: Option<usize>,
    pub name: Option<usize>,
    pub identity: Option<usize>,
    pub zone: Option<usize>,
    pub numbers: Vec<Option<usize>>,
    pub addresses: Vec<Option<usize>>,
}

/// A template bound to a file.
#[derive(Debug, Clone)]
pub struct Bound {
    pub(super) template: Template,
    /// For each column of the template, where it stands.
    pub(super) at: Vec<Option<usize>>,
    pub(super) people: Vec<PersonAt>,
    heads: Vec<String>,
    last_head: usize,
}

impl Bound {
    /// Finds the template's columns among the heads of a file.
    ///
    /// # Errors
    /// Every column that is missing, stands there twice, or (if the template refuses others) is unknown.
    pub fn new(template: &Template, heads: &SheetRow) -> Result<Bound, Vec<Fault>> {
        let mut finder = Finder {
            line: heads.line,
            heads: &heads.cells,
            normal: heads
                .cells
                .iter()
                .map(|cell| template::head(cell))
                .collect(),
            used: vec![false; heads.cells.len()],
            faults: Vec::new(),
        };
        let at = template
            .columns
            .iter()
            .map(|(_, column)| finder.find(column, column.required))
            .collect();
        let people = template
            .people
            .iter()
            .enumerate()
            .filter_map(|(of, person)| finder.person(of, person))
            .collect();
        if template.strict {
            finder.refuse_others();
        }
        if finder.faults.is_empty() {
            Ok(Bound {
                template: template.clone(),
                at,
                people,
                heads: heads.cells.clone(),
                last_head: heads.heads(),
            })
        } else {
            Err(finder.faults)
        }
    }

    /// Where a column of the template stands, and the column.
    pub(super) fn column(&self, wanted: &To) -> Option<(usize, &Column)> {
        let index = self
            .template
            .columns
            .iter()
            .position(|(to, _)| to == wanted)?;
        let at = (*self.at.get(index)?)?;
        self.template.columns.get(index).map(|(_, c)| (at, c))
    }

    /// What a column is called in messages: its head, or its letter if it has none.
    #[must_use]
    pub fn label(&self, at: usize) -> String {
        label(&self.heads, at)
    }

    /// How many columns have a head, those between without one counted.
    pub(super) fn last_head(&self) -> usize {
        self.last_head
    }

    /// Whether the column at this place is read.
    pub(super) fn reads(&self, at: usize) -> bool {
        let of_person = |person: &PersonAt| {
            [person.relation, person.name, person.identity, person.zone]
                .into_iter()
                .chain(person.numbers.iter().copied())
                .chain(person.addresses.iter().copied())
                .any(|place| place == Some(at))
        };
        self.at.contains(&Some(at)) || self.people.iter().any(of_person)
    }

    /// Heads of the columns that are not read.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        (0..self.heads.len())
            .filter(|at| !self.reads(*at))
            .map(|at| self.label(at))
            .filter(|head| head != ERROR_HEAD)
            .collect()
    }
}

fn label(heads: &[String], at: usize) -> String {
    match heads.get(at) {
        Some(head) if !head.is_empty() => head
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(60)
            .collect(),
        _ => sheet::letters(at),
    }
}

/// The heads of a file, in words. A first line that holds numbers of people is none of heads and is not repeated.
fn there(heads: &[String]) -> String {
    let digits = |head: &String| head.chars().filter(char::is_ascii_digit).count();
    if heads.iter().any(|head| digits(head) > 4) {
        return "the line of the heads holds numbers: does the file have heads, and in that line?"
            .to_owned();
    }
    let shown: Vec<String> = (0..heads.len().min(60))
        .filter(|at| heads.get(*at).is_some_and(|head| !head.is_empty()))
        .map(|at| label(heads, at))
        .collect();
    format!("the file has: {}", shown.join(", "))
}

struct Finder<'a> {
    line: u64,
    heads: &'a [String],
    normal: Vec<String>,
    used: Vec<bool>,
    faults: Vec<Fault>,
}

impl Finder<'_> {
    fn fault(&mut self, column: String, problem: String) {
        self.faults.push(Fault {
            line: self.line,
            column: Some(column),
            problem,
        });
    }

    fn find(&mut self, column: &Column, needed: bool) -> Option<usize> {
        match &column.place {
            Place::Letter(at) => {
                if let Some(used) = self.used.get_mut(*at) {
                    *used = true;
                }
                Some(*at)
            }
            Place::Heads(names) => {
                let found: Vec<usize> = (0..self.normal.len())
                    .filter(|at| {
                        self.normal
                            .get(*at)
                            .is_some_and(|head| names.contains(head))
                    })
                    .collect();
                for at in &found {
                    if let Some(used) = self.used.get_mut(*at) {
                        *used = true;
                    }
                }
                match found.as_slice() {
                    [] if needed => {
                        let others = match names.len() {
                            1 => String::new(),
                            _ => format!(" (also by the name of {})", names[1..].join(", ")),
                        };
                        let problem =
                            format!("this column is missing{others}; {}", there(self.heads));
                        self.fault(names.first().cloned().unwrap_or_default(), problem);
                        None
                    }
                    [] => None,
                    [at] => Some(*at),
                    [at, other, ..] => {
                        let problem = format!(
                            "this column stands there twice, in {} and {}",
                            sheet::letters(*at),
                            sheet::letters(*other)
                        );
                        self.fault(label(self.heads, *at), problem);
                        None
                    }
                }
            }
        }
    }

    /// The places of a person's columns; `None` if the file says nothing about such a person.
    fn person(&mut self, of: usize, person: &PersonColumns) -> Option<PersonAt> {
        let numbers: Vec<_> = person
            .numbers
            .iter()
            .map(|c| self.find(c, c.required))
            .collect();
        let addresses: Vec<_> = person
            .addresses
            .iter()
            .map(|(_, c)| self.find(c, c.required))
            .collect();
        let there = numbers.iter().chain(&addresses).any(Option::is_some);
        let needed = |column: &Column| column.required || (there && column.default.is_none());
        let name = person.name.as_ref().and_then(|c| self.find(c, needed(c)));
        let relation = person
            .relation_column
            .as_ref()
            .and_then(|c| self.find(c, needed(c)));
        let identity = person
            .identity
            .as_ref()
            .and_then(|c| self.find(c, c.required));
        let zone = person.zone.as_ref();
        let zone = zone.and_then(|c| self.find(c, c.required));
        there.then_some(PersonAt {
            of,
            relation,
            name,
            identity,
            zone,
            numbers,
            addresses,
        })
    }

    fn refuse_others(&mut self) {
        for at in 0..self.normal.len() {
            let unknown = self.used.get(at) == Some(&false);
            let head = self.normal.get(at).map_or("", String::as_str);
            if unknown && head != ERROR_HEAD && !head.is_empty() {
                let problem =
                    "the template knows no such column, and refuses what it does not know";
                self.fault(sheet::letters(at), problem.to_owned());
            }
        }
    }
}
