//! Who is meant: cases by the client's own number, numbers by their case.

use super::Refused;
use crate::{
    phone::{PhoneNumber, Region, ShortCodes},
    store::{
        Tx,
        cases::{self, Case},
        clients::{self, Client},
        contact_points::{self, Target},
        users::User,
    },
};

/// By whose habits a number without `+` is read, and which short codes exist.
#[derive(Debug, Clone, Copy)]
pub struct Numbering<'a> {
    /// The country.
    pub region: Region,
    /// Numbers that are no subscriber numbers.
    pub short: &'a ShortCodes,
}

impl Numbering<'_> {
    /// Reads a number.
    ///
    /// # Errors
    /// [`Refused::Invalid`], without the digits.
    pub fn number(&self, text: &str) -> Result<PhoneNumber, Refused> {
        PhoneNumber::parse(text, self.region, self.short)
            .map_err(|e| Refused::Invalid(format!("number: {e}")))
    }
}

/// A case as people name it: `CLIENT/REFERENCE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseName {
    /// Code of the client.
    pub client: String,
    /// The client's own number of the case.
    pub reference: String,
}

impl std::str::FromStr for CaseName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((client, reference)) if !client.is_empty() && !reference.is_empty() => Ok(Self {
                client: client.to_owned(),
                reference: reference.to_owned(),
            }),
            _ => Err("write a case as CLIENT/REFERENCE, the client's code and its own case number"),
        }
    }
}

/// The client of a code, if the viewer may see it; without a viewer everybody may.
///
/// # Errors
/// [`Refused::Unknown`].
pub async fn client(tx: &mut Tx, code: &str, viewer: Option<&User>) -> Result<Client, Refused> {
    clients::by_code(tx, code)
        .await?
        .filter(|client| viewer.is_none_or(|user| user.scope.includes(client.id)))
        .ok_or_else(|| {
            Refused::Unknown(format!(
                "there is no client {code:?}; `ringfence cases list` shows the codes"
            ))
        })
}

/// The case of a name, if the viewer may see it.
///
/// # Errors
/// [`Refused::Unknown`].
pub async fn case(tx: &mut Tx, name: &CaseName, viewer: Option<&User>) -> Result<Case, Refused> {
    let client = client(tx, &name.client, viewer).await?;
    cases::by_reference(tx, client.id, &name.reference)
        .await?
        .ok_or_else(|| {
            Refused::Unknown(format!(
                "client {} has no case {:?}",
                name.client, name.reference
            ))
        })
}

/// The contact points of a case with this number: the same number may stand with several persons.
///
/// # Errors
/// [`Refused::Unknown`] if there is none, without the digits.
pub async fn points(
    tx: &mut Tx,
    case: &Case,
    number: &PhoneNumber,
) -> Result<Vec<Target>, Refused> {
    let mut points = contact_points::of_case(tx, case.id).await?;
    points.retain(|point| point.number == *number);
    if points.is_empty() {
        return Err(Refused::Unknown(format!(
            "case {:?} has no such number; a call is for a number of its own case",
            case.reference
        )));
    }
    Ok(points)
}
