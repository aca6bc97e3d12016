//! SHIP on the wire: frames in any pieces, XML in any layout, hostile input.
#![allow(clippy::expect_used, reason = "helpers of tests")]

use lockbridge_protocol::ship::call::{
    AssignNewKey, Call, DoorCommand, DoorSelection, GetInfo, OnlineDoorAction, ReadUsers,
};
use lockbridge_protocol::ship::envelope::{Answer, EnvelopeError, Exception, Request};
use lockbridge_protocol::ship::frame::{Frame, FrameError, FrameReader, VERSION};
use lockbridge_protocol::ship::limits::{BODY_BYTES, DEPTH, ELEMENTS};
use lockbridge_protocol::ship::paging::PageRequest;
use lockbridge_protocol::ship::xml::{Element, XmlError};
use proptest::prelude::*;

fn framed(document: String) -> String {
    let bytes = Frame { version: VERSION, body: document.into_bytes() }.encode().expect("a small body");
    String::from_utf8(bytes).expect("ASCII")
}

#[test]
fn worked_examples_are_written_byte_for_byte() {
    assert_eq!(
        framed(GetInfo.to_document()),
        "STP/00/108/<?xml version=\"1.0\" encoding=\"UTF-8\"?><RequestCall><RequestName>GetInfo</RequestName><Params/></RequestCall>"
    );
    let info = Element::with_children(
        "Params",
        vec![
            Element::with_text("ProtocolID", "SHIP"),
            Element::with_text("ProtocolVersion", "1.0"),
            Element::with_text("DateTime", "2026-11-22T12:30:20"),
            Element::with_text("DefaultLanguage", "eng"),
        ],
    );
    assert_eq!(
        framed(Answer { name: "GetInfo".into(), outcome: Ok(info) }.to_document()),
        "STP/00/269/<?xml version='1.0' encoding='utf-8'?><RequestResponse><RequestName>GetInfo</RequestName><Params><ProtocolID>SHIP</ProtocolID><ProtocolVersion>1.0</ProtocolVersion><DateTime>2026-11-22T12:30:20</DateTime><DefaultLanguage>eng</DefaultLanguage></Params></RequestResponse>"
    );
    let exception = Exception { code: 502, message: "Unknown request".into() };
    assert_eq!(
        framed(Answer { name: "TransferMoney".into(), outcome: Err(exception) }.to_document()),
        "STP/00/186/<?xml version='1.0' encoding='utf-8'?><RequestResponse><RequestName>TransferMoney</RequestName><Exception><Code>502</Code><Message>Unknown request</Message></Exception></RequestResponse>"
    );
    let open = OnlineDoorAction { command: DoorCommand::Open, doors: DoorSelection::one("D1") };
    assert_eq!(
        framed(open.to_document()),
        "STP/00/180/<?xml version=\"1.0\" encoding=\"UTF-8\"?><RequestCall><RequestName>OnlineDoor.Open</RequestName><Params><ExtDoorIDList><ExtDoorID>D1</ExtDoorID></ExtDoorIDList></Params></RequestCall>"
    );
    let assign = AssignNewKey { user_id: "U1001".into(), encoder: "Encoder#2".into() };
    assert_eq!(
        framed(assign.to_document()),
        "STP/00/201/<?xml version=\"1.0\" encoding=\"UTF-8\"?><RequestCall><RequestName>Encoder.SaltoDBUser.AssignNewKey</RequestName><Params><ExtUserID>U1001</ExtUserID><EncoderID>Encoder#2</EncoderID></Params></RequestCall>"
    );
    let page = PageRequest { max_count: 1, starting_from: None };
    assert_eq!(
        framed(ReadUsers { page, groups: false, doors: false, zones: false }.to_document()),
        "STP/00/151/<?xml version=\"1.0\" encoding=\"UTF-8\"?><RequestCall><RequestName>SaltoDBUserList.Read</RequestName><Params><MaxCount>1</MaxCount></Params></RequestCall>"
    );
}

#[test]
fn text_outside_ascii_is_written_as_references_so_that_every_way_of_counting_agrees() {
    let request = Request { name: "SaltoDBUser.Delete".into(), params: vec![Element::with_text("ExtUserID", "José")] };
    let document = request.to_document();
    assert!(document.is_ascii());
    assert_eq!(document.len(), 159);
    assert!(document.contains("Jos&#xE9;"));
    assert_eq!(Request::parse(document.as_bytes()), Ok(request));
}

#[test]
fn characters_that_xml_cannot_carry_become_the_replacement_character() {
    let element = Element::with_text("A", "x\u{1}\u{FFFF}y");
    assert_eq!(element.to_document(""), "<A>x&#xFFFD;&#xFFFD;y</A>");
}

#[test]
fn bad_headers_are_refused_by_name_and_stay_refused() {
    for (bytes, error) in [
        (&b"HTTP/1.1 200"[..], FrameError::Magic),
        (b"SX", FrameError::Magic),
        (b"STP/0/", FrameError::Version),
        (b"STP/0x/", FrameError::Version),
        (b"STP/000/", FrameError::Version),
        (b"STP/00//", FrameError::Length),
        (b"STP/00/12a/", FrameError::Length),
        (b"STP/00/-1/", FrameError::Length),
        (b"STP/00/1234567", FrameError::Length),
    ] {
        let mut reader = FrameReader::new();
        assert_eq!(reader.read(&mut &bytes[..]), Err(error), "{bytes:?}");
        assert_eq!(reader.read(&mut &b"STP/00/0/"[..]), Err(error), "a failed stream has no next frame");
    }
}

#[test]
fn a_half_frame_is_waited_for_and_seen() {
    let mut reader = FrameReader::new();
    assert!(reader.is_between_frames());
    assert_eq!(reader.read(&mut &b"STP/01/5/ab"[..]), Ok(None));
    assert!(!reader.is_between_frames());
    let mut rest = &b"cdeSTP"[..];
    let frame = reader.read(&mut rest).expect("a good frame");
    assert_eq!(frame, Some(Frame { version: *b"01", body: b"abcde".to_vec() }));
    assert_eq!(rest, b"STP", "the next frame is not touched");
}

#[test]
fn bodies_that_six_digits_cannot_say_are_not_written() {
    let frame = Frame { version: VERSION, body: vec![b' '; BODY_BYTES + 1] };
    assert_eq!(frame.encode(), Err(FrameError::TooLarge { bytes: BODY_BYTES + 1 }));
}

#[test]
fn layout_does_not_matter() {
    let plain = Element::with_children(
        "RequestResponse",
        vec![
            Element::with_text("RequestName", "GetInfo"),
            Element::with_children("Params", vec![Element::with_text("A.B", "x < y é"), Element::new("GPF1")]),
        ],
    );
    for document in [
        "<RequestResponse><RequestName>GetInfo</RequestName><Params><A.B>x &lt; y &#233;</A.B><GPF1/></Params></RequestResponse>",
        "\u{FEFF}<?xml version='1.0'?>\r\n<!-- note --><RequestResponse>\n\t<RequestName> GetInfo\n</RequestName>\n <Params ><A.B  >x &#60; y &#xe9;</A.B >\n<GPF1 /> </Params>\r\n</RequestResponse>\n<!-- end -->",
        "<?xml version=\"1.0\"?><?other target?><s:RequestResponse xmlns:s='urn:x' a='1'><s:RequestName>Get<!-- -->Info</s:RequestName><Params b='2'><A.B><![CDATA[x < y é]]></A.B><GPF1></GPF1></Params></s:RequestResponse>",
    ] {
        assert_eq!(Element::parse(document.as_bytes()), Ok(plain.clone()), "{document}");
    }
}

#[test]
fn declared_single_byte_text_is_read() {
    let document = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Name>Jos\xE9</Name>";
    assert_eq!(Element::parse(document), Ok(Element::with_text("Name", "José")));
    assert_eq!(Element::parse(b"<Name>Jos\xE9</Name>"), Err(XmlError::Encoding("UTF-8")));
    let mislabelled = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Name>José</Name>";
    assert_eq!(Element::parse(mislabelled.as_bytes()), Ok(Element::with_text("Name", "José")));
    assert!(matches!(Element::parse(b"\xFF\xFE<\0a\0/\0>\0"), Err(XmlError::Encoding(_))));
}

#[test]
fn attacks_on_readers_are_refused() {
    let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>"#;
    assert_eq!(Element::parse(bomb.as_bytes()), Err(XmlError::DocumentType));
    let file = r#"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#;
    assert_eq!(Element::parse(file.as_bytes()), Err(XmlError::DocumentType));
    assert_eq!(Element::parse(b"<a>&c;</a>"), Err(XmlError::Entity));
    assert_eq!(
        Element::parse("<a>".repeat(100_000).as_bytes()),
        Err(XmlError::Limit { limit: DEPTH, what: "nested elements" })
    );
    let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS));
    assert_eq!(Element::parse(many.as_bytes()), Err(XmlError::Limit { limit: ELEMENTS, what: "elements" }));
    let big = vec![b' '; BODY_BYTES + 1];
    assert_eq!(Element::parse(&big), Err(XmlError::Limit { limit: BODY_BYTES, what: "bytes" }));
}

#[test]
fn documents_cut_anywhere_are_incomplete_or_malformed() {
    let document = Answer { name: "A".into(), outcome: Err(Exception { code: 4, message: "no".into() }) }.to_document();
    for end in 0..document.len() {
        let cut = &document.as_bytes()[..end];
        assert!(
            matches!(Element::parse(cut), Err(XmlError::Incomplete | XmlError::Malformed { .. })),
            "cut at {end}: {:?}",
            Element::parse(cut)
        );
    }
    assert_eq!(Element::parse(b"HELLO"), Err(XmlError::Outside));
    assert_eq!(Element::parse(b"<a/><b/>"), Err(XmlError::Outside));
    assert_eq!(Element::parse(b"<a:/x></a:/x>"), Err(XmlError::Name));
    assert!(matches!(Element::parse(b"<a></b>"), Err(XmlError::Malformed { .. })));
}

#[test]
fn envelopes_that_lack_a_part_are_named() {
    assert_eq!(Answer::parse(b"<html/>"), Err(EnvelopeError::Root { expected: "RequestResponse" }));
    assert_eq!(
        Answer::parse(b"<RequestResponse><RequestName>A</RequestName></RequestResponse>"),
        Err(EnvelopeError::Missing { root: "RequestResponse", missing: "Params" })
    );
    assert_eq!(
        Answer::parse(b"<RequestResponse><Exception><Code>many</Code></Exception></RequestResponse>"),
        Err(EnvelopeError::Code)
    );
    let padded = Answer::parse(b"<RequestResponse><Exception><Code> 502 </Code></Exception></RequestResponse>");
    assert_eq!(padded.expect("readable").outcome, Err(Exception { code: 502, message: String::new() }));
}

/// All frames in `bytes`, handed over in pieces that end at `cuts`.
fn frames(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut reader = FrameReader::new();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        let mut input = &bytes[start..end];
        while !input.is_empty() {
            found.extend(reader.read(&mut input)?);
        }
        start = end;
    }
    Ok(found)
}

fn element_tree() -> impl Strategy<Value = Element> {
    let name = "[A-Z][A-Za-z]{0,6}(\\.[A-Z][a-z_]{0,4})?";
    let leaf = (name, "[ -~é€😀]{0,12}").prop_map(|(name, text)| Element::with_text(name, text.trim()));
    leaf.prop_recursive(4, 40, 6, move |inner| {
        (name, prop::collection::vec(inner, 0..6)).prop_map(|(name, children)| Element::with_children(name, children))
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
        mut cuts in prop::collection::vec(0_usize..400, 0..20),
    ) {
        let sent: Vec<Frame> = bodies.into_iter().map(|body| Frame { version: VERSION, body }).collect();
        let mut bytes = Vec::new();
        for frame in &sent {
            bytes.extend(frame.encode().expect("a small body"));
        }
        cuts.sort_unstable();
        prop_assert_eq!(frames(&bytes, &cuts), Ok(sent));
    }

    #[test]
    fn garbage_never_panics_and_splits_do_not_matter(
        bytes in prop::collection::vec(any::<u8>(), 0..80), prefix in prop::bool::ANY, mut cuts in prop::collection::vec(0_usize..100, 0..6),
    ) {
        let mut input = if prefix { b"STP/00/".to_vec() } else { Vec::new() };
        input.extend(&bytes);
        cuts.sort_unstable();
        prop_assert_eq!(frames(&input, &cuts), frames(&input, &[]));
        let _any = Element::parse(&bytes);
        let _any = Answer::parse(&bytes);
        let _any = Request::parse(&bytes);
    }

    #[test]
    fn markup_soup_never_panics(text in "(<|>|/|!|\\?|\\[|\\]|--|&|;|#|x|CDATA|DOCTYPE|[a-c ='\"]|é){0,40}") {
        let _any = Element::parse(text.as_bytes());
    }

    #[test]
    fn trees_survive_writing_and_reading(tree in element_tree()) {
        let document = tree.to_document("");
        prop_assert!(document.is_ascii());
        prop_assert_eq!(Element::parse(document.as_bytes()), Ok(tree));
    }

    #[test]
    fn requests_and_answers_survive(name in "[A-Za-z.]{1,20}", tree in element_tree(), code in any::<i64>(), message in "[a-z é]{0,20}") {
        let request = Request { name: name.clone(), params: vec![tree.clone()] };
        prop_assert_eq!(Request::parse(request.to_document().as_bytes()), Ok(request));
        let good = Answer { name: name.clone(), outcome: Ok(Element::with_children("Params", vec![tree])) };
        prop_assert_eq!(Answer::parse(good.to_document().as_bytes()), Ok(good));
        let bad = Answer { name, outcome: Err(Exception { code, message: message.trim().into() }) };
        prop_assert_eq!(Answer::parse(bad.to_document().as_bytes()), Ok(bad));
    }
}
