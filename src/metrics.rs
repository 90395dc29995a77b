//! Counters per core and histograms merged off the cores.
