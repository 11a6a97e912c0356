//! Addresses of the Internet: <https://trino.io/docs/current/functions/ipaddress.html>. A value of type IPADDRESS is the text of an
//! address as Trino writes it: texts are equal where addresses are, but do not have their order.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::function::{Arg, Gives, Takes, by_row, failed, function, texts};

/// `CAST(x AS IPADDRESS)` and `IPADDRESS 'x'`.
pub(super) const ADDRESS: &str = "__ipaddress";
/// The same, null where it is none.
pub(super) const TRY_ADDRESS: &str = "__try_ipaddress";

pub(super) fn functions() -> Vec<ScalarUDF> {
    let cast = |name, is_try: bool| {
        function(name, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), move |args, _| {
            let values = texts(&args[0]);
            let out: StringArray = by_row(args, |row| match address(values.value(row)) {
                None if !is_try => Err(failed("a text cannot be cast to IPADDRESS")),
                address => Ok(address.map(|address| address.to_string())),
            })?;
            Ok(Arc::new(out))
        })
    };
    vec![cast(ADDRESS, false), cast(TRY_ADDRESS, true)]
}

/// Whether an address is in a network: `contains('10.0.0.0/8', address)`.
pub(super) fn is_in_network(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (networks, addresses) = (texts(&args[0]), texts(&args[1]));
    let out: BooleanArray = by_row(args, |row| {
        let network = network(networks.value(row)).ok_or_else(|| failed("contains takes a network as 10.0.0.0/8"))?;
        let address = address(addresses.value(row)).ok_or_else(|| failed("contains takes an IPADDRESS"))?;
        Ok(Some(has(network, address)))
    })?;
    Ok(Arc::new(out))
}

/// Addresses of version 4 that are written as some of version 6 are of version 4.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (first, bits) = text.split_once('/')?;
    let (first, bits) = (address(first)?, bits.parse().ok()?);
    (bits <= if first.is_ipv4() { 32 } else { 128 }).then_some((first, bits))
}

fn has((first, bits): (IpAddr, u32), address: IpAddr) -> bool {
    let is_same = |first: Ipv6Addr, address: Ipv6Addr, width: u32| {
        let behind = (first.to_bits() ^ address.to_bits()).checked_shr(width - bits);
        behind.unwrap_or_default() == 0
    };
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => is_same(first.to_ipv6_mapped(), address.to_ipv6_mapped(), 32),
        (IpAddr::V6(first), IpAddr::V6(address)) => is_same(first, address, 128),
        _ => false,
    }
}
