//! The typed readings of [`Headers`]. The five that every message must have (From, To, Call-ID, CSeq, Via) are
//! `Result<T>`, all others `Result<Option<T>>` or lists that may be empty.

use super::{
    CSeq, Contacts, ContentType, HeaderError, Headers, NameAddr, RAck, Replaces, RetryAfter,
    SessionExpires, Via, name,
};
use crate::cause::Reason;
use crate::digest::{Challenge, Credentials};
use crate::text::{Malformed, clamped_u32, is_token, split_top, strict_number};

type Reading<T> = Result<T, HeaderError>;

impl Headers {
    /// The Via headers from the top (the latest hop first); at least one.
    ///
    /// # Errors
    /// There is none, or one of them is malformed.
    pub fn vias(&self) -> Reading<Vec<Via>> {
        let vias = self.list(name::VIA, Via::parse)?;
        if vias.is_empty() {
            Err(HeaderError::Missing(name::VIA))
        } else {
            Ok(vias)
        }
    }

    /// The topmost Via only; those below may be broken.
    ///
    /// # Errors
    /// There is none or it is malformed.
    pub fn top_via(&self) -> Reading<Via> {
        let text = self
            .text(name::VIA)
            .ok_or(HeaderError::Missing(name::VIA))?;
        let first = split_top(&text, b',')
            .next()
            .ok_or(HeaderError::Missing(name::VIA))?;
        Via::parse(first).map_err(malformed(name::VIA))
    }

    /// Replaces the topmost Via (its first value only), e.g. after [`Via::note_source`].
    pub fn set_top_via(&mut self, via: &Via) {
        let rest = self.text(name::VIA).and_then(|text| {
            let mut pieces = split_top(&text, b',');
            pieces.next();
            let below: Vec<&str> = pieces.collect();
            (!below.is_empty()).then(|| below.join(", "))
        });
        let line = match rest {
            Some(rest) => format!("{}, {rest}", via.to_wire()),
            None => via.to_wire(),
        };
        match self
            .0
            .iter_mut()
            .find(|(have, _)| have.eq_ignore_ascii_case(name::VIA))
        {
            Some(entry) => entry.1 = line.into_bytes(),
            None => self.push_front(name::VIA, line),
        }
    }

    /// From (RFC 3261 20.20).
    ///
    /// # Errors
    /// Missing, repeated or malformed.
    pub fn from(&self) -> Reading<NameAddr> {
        self.required(name::FROM, NameAddr::parse)
    }

    /// To (RFC 3261 20.39).
    ///
    /// # Errors
    /// Missing, repeated or malformed.
    pub fn to(&self) -> Reading<NameAddr> {
        self.required(name::TO, NameAddr::parse)
    }

    /// Call-ID (RFC 3261 20.8). Compared byte by byte, so nothing of it is normalised.
    ///
    /// # Errors
    /// Missing, repeated, empty or with blanks in it.
    pub fn call_id(&self) -> Reading<String> {
        self.required(name::CALL_ID, |text| {
            if text.is_empty()
                || text.contains(|char: char| char.is_ascii_whitespace() || char.is_control())
            {
                return Err(Malformed("empty or not one word"));
            }
            Ok(text.to_owned())
        })
    }

    /// CSeq (RFC 3261 20.16).
    ///
    /// # Errors
    /// Missing, repeated or malformed.
    pub fn cseq(&self) -> Reading<CSeq> {
        self.required(name::CSEQ, CSeq::parse)
    }

    /// Contact (RFC 3261 20.10); `None` if there is none.
    ///
    /// # Errors
    /// An address is malformed, or `*` stands beside others.
    pub fn contacts(&self) -> Reading<Option<Contacts>> {
        let pieces = self.pieces(name::CONTACT);
        if pieces.iter().any(|piece| piece == "*") {
            return match pieces.len() {
                1 => Ok(Some(Contacts::Star)),
                _ => Err(malformed(name::CONTACT)(Malformed(
                    "* stands beside addresses",
                ))),
            };
        }
        let list = self.list(name::CONTACT, NameAddr::parse)?;
        Ok((!list.is_empty()).then_some(Contacts::List(list)))
    }

    /// The first Contact address: the remote target of a dialog (RFC 3261 12.1).
    ///
    /// # Errors
    /// As [`contacts`](Self::contacts).
    pub fn contact(&self) -> Reading<Option<NameAddr>> {
        Ok(self.contacts()?.and_then(|contacts| match contacts {
            Contacts::Star => None,
            Contacts::List(list) => list.into_iter().next(),
        }))
    }

    /// Record-Route from the top (RFC 3261 20.30).
    ///
    /// # Errors
    /// An address is malformed.
    pub fn record_routes(&self) -> Reading<Vec<NameAddr>> {
        self.list(name::RECORD_ROUTE, NameAddr::parse)
    }

    /// Route from the top (RFC 3261 20.34).
    ///
    /// # Errors
    /// An address is malformed.
    pub fn routes(&self) -> Reading<Vec<NameAddr>> {
        self.list(name::ROUTE, NameAddr::parse)
    }

    /// Max-Forwards (RFC 3261 20.22).
    ///
    /// # Errors
    /// Not a number from 0 to 255.
    pub fn max_forwards(&self) -> Reading<Option<u8>> {
        self.single(name::MAX_FORWARDS, |text| {
            strict_number(text).ok_or(Malformed("no number from 0 to 255"))
        })
    }

    /// Expires in seconds (RFC 3261 20.19).
    ///
    /// # Errors
    /// Not a number.
    pub fn expires(&self) -> Reading<Option<u32>> {
        self.seconds(name::EXPIRES)
    }

    /// Min-Expires in seconds (RFC 3261 20.23).
    ///
    /// # Errors
    /// Not a number.
    pub fn min_expires(&self) -> Reading<Option<u32>> {
        self.seconds(name::MIN_EXPIRES)
    }

    /// Session-Expires (RFC 4028 4).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn session_expires(&self) -> Reading<Option<SessionExpires>> {
        self.single(name::SESSION_EXPIRES, SessionExpires::parse)
    }

    /// Min-SE in seconds (RFC 4028 5); its parameters are passed over.
    ///
    /// # Errors
    /// Not a number.
    pub fn min_se(&self) -> Reading<Option<u32>> {
        self.seconds(name::MIN_SE)
    }

    /// RSeq (RFC 3262 7.1).
    ///
    /// # Errors
    /// Not a number of 32 bits.
    pub fn rseq(&self) -> Reading<Option<u32>> {
        self.single(name::RSEQ, |text| {
            strict_number(text).ok_or(Malformed("no number of 32 bits"))
        })
    }

    /// RAck (RFC 3262 7.2).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn rack(&self) -> Reading<Option<RAck>> {
        self.single(name::RACK, RAck::parse)
    }

    /// The option tags of Require (RFC 3261 20.32), as written.
    ///
    /// # Errors
    /// One of them is no token.
    pub fn require(&self) -> Reading<Vec<String>> {
        self.tokens(name::REQUIRE)
    }

    /// The option tags of Supported (RFC 3261 20.37), as written.
    ///
    /// # Errors
    /// One of them is no token.
    pub fn supported(&self) -> Reading<Vec<String>> {
        self.tokens(name::SUPPORTED)
    }

    /// Whether Supported or Require names the option tag; a malformed list counts as no.
    pub fn supports(&self, option: &str) -> bool {
        [self.supported(), self.require()]
            .into_iter()
            .flatten()
            .flatten()
            .any(|have| have.eq_ignore_ascii_case(option))
    }

    /// The methods of Allow (RFC 3261 20.5), as written.
    ///
    /// # Errors
    /// One of them is no token.
    pub fn allow(&self) -> Reading<Vec<String>> {
        self.tokens(name::ALLOW)
    }

    /// The reasons of the Reason headers (RFC 3326 2).
    ///
    /// # Errors
    /// One of them is malformed. [`Release::from_response`](crate::cause::Release) passes over those instead.
    pub fn reasons(&self) -> Reading<Vec<Reason>> {
        self.list(name::REASON, Reason::parse)
    }

    /// All readable challenges of WWW-Authenticate. Those that cannot be read are left out: another may still do.
    pub fn www_authenticate(&self) -> Vec<Challenge> {
        self.all(name::WWW_AUTHENTICATE)
            .flat_map(|value| Challenge::parse_all(&String::from_utf8_lossy(value)))
            .collect()
    }

    /// All readable challenges of Proxy-Authenticate.
    pub fn proxy_authenticate(&self) -> Vec<Challenge> {
        self.all(name::PROXY_AUTHENTICATE)
            .flat_map(|value| Challenge::parse_all(&String::from_utf8_lossy(value)))
            .collect()
    }

    /// All readable digest credentials of Authorization.
    pub fn authorization(&self) -> Vec<Credentials> {
        self.all(name::AUTHORIZATION)
            .flat_map(|value| Credentials::parse(&String::from_utf8_lossy(value)))
            .collect()
    }

    /// All readable digest credentials of Proxy-Authorization.
    pub fn proxy_authorization(&self) -> Vec<Credentials> {
        self.all(name::PROXY_AUTHORIZATION)
            .flat_map(|value| Credentials::parse(&String::from_utf8_lossy(value)))
            .collect()
    }

    /// Retry-After (RFC 3261 20.33).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn retry_after(&self) -> Reading<Option<RetryAfter>> {
        self.single(name::RETRY_AFTER, RetryAfter::parse)
    }

    /// Refer-To (RFC 3515 2.1), with or without brackets.
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn refer_to(&self) -> Reading<Option<NameAddr>> {
        self.single(name::REFER_TO, NameAddr::parse)
    }

    /// Referred-By (RFC 3892 3).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn referred_by(&self) -> Reading<Option<NameAddr>> {
        self.single(name::REFERRED_BY, NameAddr::parse)
    }

    /// Replaces (RFC 3891 6.1).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn replaces(&self) -> Reading<Option<Replaces>> {
        self.single(name::REPLACES, Replaces::parse)
    }

    /// Content-Type (RFC 3261 20.15).
    ///
    /// # Errors
    /// Malformed or repeated.
    pub fn content_type(&self) -> Reading<Option<ContentType>> {
        self.single(name::CONTENT_TYPE, ContentType::parse)
    }

    fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Reading<T> {
        self.single(name, parse)?.ok_or(HeaderError::Missing(name))
    }

    fn single<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Reading<Option<T>> {
        let mut values = self.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(HeaderError::Repeated(name));
        }
        parse(String::from_utf8_lossy(value).trim())
            .map(Some)
            .map_err(malformed(name))
    }

    fn seconds(&self, name: &'static str) -> Reading<Option<u32>> {
        self.single(name, |text| {
            let digits = text.split(';').next().unwrap_or("").trim();
            clamped_u32(digits).ok_or(Malformed("no number of seconds"))
        })
    }

    fn pieces(&self, name: &str) -> Vec<String> {
        self.all(name)
            .flat_map(|value| {
                let text = String::from_utf8_lossy(value);
                split_top(&text, b',')
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Reading<Vec<T>> {
        let mut list = Vec::new();
        for value in self.all(name) {
            for piece in split_top(&String::from_utf8_lossy(value), b',') {
                list.push(parse(piece).map_err(malformed(name))?);
            }
        }
        Ok(list)
    }

    fn tokens(&self, name: &'static str) -> Reading<Vec<String>> {
        self.list(name, |piece| match is_token(piece) {
            true => Ok(piece.to_owned()),
            false => Err(Malformed("an element is no token")),
        })
    }
}

fn malformed(name: &'static str) -> impl Fn(Malformed) -> HeaderError {
    move |why| HeaderError::Malformed { name, why }
}
