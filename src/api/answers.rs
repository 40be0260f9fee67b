//! Refusals that many acts of the API share, as its document says them. Read on in `problem.rs` (what is really sent).

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

/// Names a refusal: its status, and what it says in a word.
macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $said:literal;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let body = ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("ProblemBody")))
                    .build();
                let response = ResponseBuilder::new()
                    .description($said)
                    .content("application/problem+json", body)
                    .build();
                BTreeMap::from([($status.to_owned(), response.into())])
            }
        }
    )*};
}

answers! {
    /// A parameter, a path or a body that cannot be read.
    Malformed = "400", "Malformed";
    /// No account.
    NoToken = "401", "No valid token";
    /// An account that may do something else.
    NoRight = "403", "Not with this role";
    /// A case that does not exist, or is another client's.
    NoCase = "404", "No such case";
    /// Something that does not exist, or is another client's.
    NotYours = "404", "No such thing among your clients'";
    /// Something that stands in another state.
    NotInThisState = "409", "Not in this state";
    /// A body beyond the limit.
    TooLarge = "413", "Too large";
    /// A body of another kind.
    NotJson = "415", "Not JSON";
    /// Something that the data or the rules rule out.
    NotSo = "422", "It cannot be done so";
    /// The database.
    Away = "503", "The database is away";
    /// The database, or somebody else's work.
    NotNow = "503", "Not at the moment";
}
