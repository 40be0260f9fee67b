//! Signalling: SIP as a sans-IO user agent. Bytes and time in, bytes and events out.
