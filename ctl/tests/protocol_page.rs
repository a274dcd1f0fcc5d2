//! The client printed in `docs/protocol.md` works as printed.

mod common;

use std::path::Path;
use std::process::Command;

use common::House;

#[test]
fn the_python_client_of_the_page_asks_for_the_status() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")).unwrap();
    let code = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(code.lines().count() <= 15, "a client fits on a postcard");
    let house = House::of_examples();
    let output = Command::new("python3")
        .args(["-c", code])
        .env("BACKUPD_SOCKET", house.folder.path().join("d.sock"))
        .output()
        .expect("this test needs python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("'running': 1"));
    assert_eq!(house.daemon.calls.lock().unwrap().len(), 1, "hello, then one call");
}
