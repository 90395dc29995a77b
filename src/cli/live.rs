pub fn run(_: &postern_policy::snapshot::Snapshot, _: std::path::PathBuf, _: &mut super::Terminal<'_>) -> super::Exit {
    super::Exit::Ok
}
