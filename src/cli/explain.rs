pub fn run(_: &super::arguments::Explain, _: &mut super::Terminal<'_>) -> super::Exit {
    super::Exit::Ok
}
