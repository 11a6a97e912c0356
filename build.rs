//! Links the program at a fixed address on Linux.
//!
//! One that may lie anywhere has a table of 280,000 places that hold addresses, each of which is set right at every start: 3 ms, of the
//! 7 that a statement takes at least. Stack, heap and libraries lie where they happen to, all the same.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let is_static = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    if target("OS") == "linux" && target("ENV") == "gnu" && !is_static {
        println!("cargo::rustc-link-arg-bin=siltstone=-no-pie");
    }
}
