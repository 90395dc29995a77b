//! PostgreSQL protocol 3.0 and 3.2: framing, start-up, authentication, errors. Pure, in place, no IO.
