//! Agents: who is there, who is talking. Pure.
