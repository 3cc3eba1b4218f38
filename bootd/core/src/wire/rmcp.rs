//! RMCP framing (IPMI v2.0 §13.1) and the RMCP+ session wrapper (§13.6).
