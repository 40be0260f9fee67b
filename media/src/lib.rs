//! Audio plane: RTP, browser legs, bridging, the recording tap.

#[cfg(feature = "browser")]
pub mod webrtc_leg;
