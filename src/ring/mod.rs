//! io_uring: ring, registered buffers, operations. Knows nothing about PostgreSQL; the only room with unsafe code.
