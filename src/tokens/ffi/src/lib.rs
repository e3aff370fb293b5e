//! In: calls from C. Out: answers from the tokenizers crate. textvec_tokenizers.h says what each
//! function does; the layouts here and there must agree.

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::slice;
use std::sync::Once;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Precompiled, Sequence};
use tokenizers::tokenizer::{Encoding, Token};
use tokenizers::Tokenizer;

/// Errors of the crate can quote a whole token or pattern of the file.
const MESSAGE_BYTES_MAX: usize = 500;

/// How many bytes a tokenizer's steps may make of one. Those of known ones make some 70 at the worst:
/// a character map with U+FDFA, which it spells out in 33 bytes, and a Replace behind it.
const GROWTH_MAX: f64 = 256.0;

pub struct Loaded {
    tokenizer: Tokenizer,
    about: About,
    special_ids: Vec<u32>,
    final_id: Option<u32>,
}

// C++ shares one Loaded between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Loaded>()
};

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct About {
    vocabulary_size: usize,
    leading: usize,
    trailing: usize,
    id_max: u32,
    final_token_added: i32,
}

#[repr(i32)]
#[derive(Clone, Copy)]
enum Status {
    Done = 0,
    InvalidUtf8 = 1,
    InvalidArgument = 2,
    Failed = 3,
    Panicked = 4,
}

/// Bytes of a text, from `begin` to before `end`.
#[repr(C)]
pub struct Span {
    begin: usize,
    end: usize,
}

/// C sees the fields up to `ids_count`. They point into the others, which only keep the memory.
#[repr(C)]
pub struct Answer {
    status: i32,
    offset: usize,
    text: *const u8,
    text_bytes: usize,
    ids: *const u32,
    type_ids: *const u32,
    spans: *const Span,
    ids_count: usize,
    owned: Owned,
}

#[derive(Default)]
struct Owned {
    text: Vec<u8>,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    spans: Vec<Span>,
}

struct Failure {
    status: Status,
    offset: usize,
    message: String,
}

impl Failure {
    fn new(status: Status, message: impl ToString) -> Self {
        Failure { status, offset: 0, message: message.to_string() }
    }
}

impl From<tokenizers::Error> for Failure {
    fn from(error: tokenizers::Error) -> Self {
        Failure::new(Status::Failed, error)
    }
}

impl Answer {
    fn new(status: Status, offset: usize, owned: Owned) -> Box<Self> {
        let type_ids =
            if owned.type_ids.is_empty() { ptr::null() } else { owned.type_ids.as_ptr() };
        let spans = if owned.spans.is_empty() { ptr::null() } else { owned.spans.as_ptr() };
        Box::new(Answer {
            status: status as i32,
            offset,
            text: owned.text.as_ptr(),
            text_bytes: owned.text.len(),
            ids: owned.ids.as_ptr(),
            type_ids,
            spans,
            ids_count: owned.ids.len(),
            owned,
        })
    }

    fn of(result: Result<Owned, Failure>) -> Box<Self> {
        match result {
            Ok(owned) => Answer::new(Status::Done, 0, owned),
            Err(failure) => {
                let text = short_message(failure.message);
                Answer::new(failure.status, failure.offset, Owned { text, ..Owned::default() })
            }
        }
    }
}

/// The crate's message, cut to a sane length. It goes through bytes, because the crate quotes BPE
/// merges that it joined without looking whether the parts make valid UTF-8.
fn short_message(message: String) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(&message.into_bytes()).into_owned();
    if text.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text.into_bytes()
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A panic is printed by the process's one hook before catch_unwind sees it, but a library must not
/// print. So the first call puts a hook before the present one that is silent for panics inside our
/// functions and passes on all others. Setting it once and for all is right: this library brings
/// its own Rust runtime, whose hook nobody else uses, and where a linker merges it with a Rust
/// host's, the host's panics still reach the host's hook.
fn silence_our_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !INSIDE.with(Cell::get) {
                previous(info);
            }
        }));
        // One text at a time, on the caller's thread, whatever TOKENIZERS_PARALLELISM says.
        tokenizers::utils::parallelism::set_parallelism(false);
    });
}

fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    said.unwrap_or_else(|| "no message".to_string())
}

/// Runs `work` so that no panic leaves it. The state it leaves behind is sound: a tokenizer does
/// not change after loading, and the crate's caches only miss when their lock is poisoned.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        silence_our_panics();
        INSIDE.with(|inside| inside.set(true));
        work()
    }));
    INSIDE.with(|inside| inside.set(false));
    caught.unwrap_or_else(|payload| Err(Failure::new(Status::Panicked, panic_message(payload))))
}

fn answer(work: impl FnOnce() -> Result<Owned, Failure>) -> *mut Answer {
    Box::into_raw(Answer::of(guarded(work)))
}

/// # Safety
/// `data` is null or points to `count` values that outlive the result.
unsafe fn view<'a, T>(data: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::new(Status::InvalidArgument, "the data is a null pointer"));
    }
    if count > isize::MAX as usize / std::mem::size_of::<T>() {
        let message = format!("{count} values are more than memory can hold");
        return Err(Failure::new(Status::InvalidArgument, message));
    }
    Ok(slice::from_raw_parts(data, count))
}

/// # Safety
/// `tokenizer` is null or came from textvec_tokenizers_load and is not freed.
unsafe fn loaded<'a>(tokenizer: *const Loaded) -> Result<&'a Loaded, Failure> {
    let null = || Failure::new(Status::InvalidArgument, "the tokenizer is a null pointer");
    tokenizer.as_ref().ok_or_else(null)
}

/// Dropout is for training; with it one text would give other ids every time.
fn without_dropout(mut tokenizer: Tokenizer) -> Tokenizer {
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model() {
        if bpe.dropout.is_some() {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            tokenizer.with_model(bpe);
        }
    }
    tokenizer
}

/// The part of a tokenizer.json that is looked at before the crate sees it.
#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    normalizer: serde_json::Value,
}

/// The first four bytes of base64, as a little-endian number.
fn first_number(base64: &str) -> Option<u32> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Option<Vec<usize>> =
        base64.chars().take(6).map(|digit| DIGITS.find(digit)).collect();
    let bits = digits.filter(|digits| digits.len() == 6)?;
    let number = bits.iter().fold(0u64, |number, digit| number << 6 | *digit as u64);
    Some(((number >> 4) as u32).swap_bytes())
}

/// The crate reserves memory for as many bytes as a Precompiled normalizer claims to have; what
/// claims more than it has is damaged, and 8 GB that are not there would end the process.
fn check_claims(normalizer: &serde_json::Value) -> Result<(), Failure> {
    let inner = normalizer["normalizers"].as_array();
    inner.into_iter().flatten().try_for_each(check_claims)?;
    let Some(table) = normalizer["precompiled_charsmap"].as_str() else {
        return Ok(());
    };
    match first_number(table) {
        Some(claimed) if claimed as usize > table.len() => {
            let message =
                format!("precompiled_charsmap claims {claimed} bytes and has {}", table.len());
            Err(Failure::new(Status::Failed, message))
        }
        _ => Ok(()),
    }
}

/// A private part of one of the crate's steps, as it would be saved.
fn saved_part(step: &impl serde::Serialize, key: &str) -> Result<serde_json::Value, Failure> {
    let failed = |error: serde_json::Error| Failure::new(Status::Failed, error);
    Ok(serde_json::to_value(step).map_err(failed)?[key].take())
}

/// How many bytes a Replace makes of one, at most. A regular expression may match one byte, or none
/// and add to it: there is no telling from the outside.
fn growth(replace: &Replace) -> Result<f64, Failure> {
    let pattern = saved_part(replace, "pattern")?;
    let content = replace.content.len() as f64;
    Ok(match pattern["String"].as_str().map(str::len) {
        Some(length) if length > 0 => (content / length as f64).max(1.0),
        _ => content.max(1.0) + 1.0,
    })
}

/// The longest text that a character map puts in the place of a character: they stand one after the
/// other behind the tree, with a NUL after each.
fn longest_replacement(map: &Precompiled) -> Result<f64, Failure> {
    let table = saved_part(map, "precompiled_charsmap")?;
    let bytes = base64::decode(table.as_str().unwrap_or_default())
        .map_err(|error| Failure::new(Status::Failed, error))?;
    let tree = first_number(table.as_str().unwrap_or_default()).unwrap_or(0) as usize;
    let texts = bytes.get(tree.saturating_add(4)..).unwrap_or_default();
    let longest = texts.split(|byte| *byte == 0).map(<[u8]>::len).max();
    Ok(longest.unwrap_or(0).max(1) as f64)
}

/// Steps that grow a text once and find nothing to grow the second time count as 1.
fn growth_of_normalizer(normalizer: &NormalizerWrapper) -> Result<f64, Failure> {
    match normalizer {
        NormalizerWrapper::Replace(replace) => growth(replace),
        NormalizerWrapper::Precompiled(map) => longest_replacement(map),
        NormalizerWrapper::Prepend(prepend) => Ok(prepend.prepend.len().max(1) as f64),
        // Two bytes of one; two spaces around a character of three bytes.
        NormalizerWrapper::ByteLevel(_) | NormalizerWrapper::BertNormalizer(_) => Ok(2.0),
        NormalizerWrapper::Sequence(sequence) => {
            sequence.as_ref().iter().map(growth_of_normalizer).product()
        }
        _ => Ok(1.0),
    }
}

fn growth_of_decoder(decoder: &DecoderWrapper) -> Result<f64, Failure> {
    match decoder {
        DecoderWrapper::Replace(replace) => growth(replace),
        DecoderWrapper::Sequence(sequence) => {
            sequence.get_decoders().iter().map(growth_of_decoder).product()
        }
        _ => Ok(1.0),
    }
}

/// A chain of steps that replace can make terabytes of one letter, and for want of memory the process
/// ends: no catch_unwind helps against that.
fn check_growth(tokenizer: &Tokenizer) -> Result<(), Failure> {
    let normalizer = tokenizer.get_normalizer().map_or(Ok(1.0), growth_of_normalizer)?;
    let decoder = tokenizer.get_decoder().map_or(Ok(1.0), growth_of_decoder)?;
    let growth = normalizer.max(decoder);
    if growth <= GROWTH_MAX {
        return Ok(());
    }
    let message = format!("its steps make {growth} bytes of one; at most {GROWTH_MAX}");
    Err(Failure::new(Status::Failed, message))
}

fn is_lower_case(normalizer: &NormalizerWrapper) -> bool {
    matches!(normalizer, NormalizerWrapper::Lowercase(_))
}

/// Lower case first, as sentence-transformers does it for do_lower_case: by a normalizer before the
/// tokenizer's own, unless that has one, so that special tokens in a text stay what they are.
fn with_lower_case(mut tokenizer: Tokenizer) -> Result<Tokenizer, Failure> {
    let own: Vec<NormalizerWrapper> = match tokenizer.get_normalizer().cloned() {
        None => Vec::new(),
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.into_iter().collect(),
        Some(one) => vec![one],
    };
    if !own.iter().any(is_lower_case) {
        let first = NormalizerWrapper::Lowercase(Lowercase);
        let all = std::iter::once(first).chain(own).collect();
        tokenizer.with_normalizer(Some(Sequence::new(all)))?;
    }
    Ok(tokenizer)
}

/// Asks the template by giving it a text of one token. Templates that use a missing special token,
/// or the second text of a pair, panic here and not at the first real text.
fn describe(tokenizer: &Tokenizer) -> Result<About, Failure> {
    let text = Encoding::from_tokens(vec![Token::new(0, "a".to_string(), (0, 1))], 0);
    let around = tokenizer.post_process(text, None, true)?;
    let special = around.get_special_tokens_mask();
    let leading = special.iter().take_while(|mask| **mask != 0).count();
    let trailing = special.iter().skip(leading).rev().take_while(|mask| **mask != 0).count();
    if leading + trailing + 1 != special.len() {
        let message = "the template does not put the text once between its special tokens";
        return Err(Failure::new(Status::Failed, message));
    }
    let vocabulary = tokenizer.get_vocab(true);
    let ids = vocabulary.values().chain(around.get_ids());
    let id_max = *ids.max().unwrap_or(&0);
    let vocabulary_size = tokenizer.get_vocab_size(true);
    if vocabulary_size == 0 {
        return Err(Failure::new(Status::Failed, "the vocabulary is empty"));
    }
    Ok(About { vocabulary_size, leading, trailing, id_max, final_token_added: 0 })
}

/// Whether the template puts `id` behind every text.
fn ends_with(tokenizer: &Tokenizer, id: u32) -> Result<bool, Failure> {
    let text = Encoding::from_tokens(vec![Token::new(0, "a".to_string(), (0, 1))], 0);
    let around = tokenizer.post_process(text, None, true)?;
    Ok(around.get_special_tokens_mask().last() == Some(&1) && around.get_ids().last() == Some(&id))
}

/// The id to put behind every text because the template does not. Two templates one after the other
/// are more than the crate can do, so encode() puts it there.
fn missing_final_id(tokenizer: &Tokenizer, token: &[u8]) -> Result<Option<u32>, Failure> {
    let token =
        std::str::from_utf8(token).map_err(|error| Failure::new(Status::InvalidArgument, error))?;
    match tokenizer.token_to_id(token) {
        Some(id) if !ends_with(tokenizer, id)? => Ok(Some(id)),
        _ => Ok(None),
    }
}

fn load(json: &[u8], lower_case: bool, final_token: &[u8]) -> Result<Loaded, Failure> {
    // The crate builds the parts while it reads: a file that breaks off later must not reach it.
    let file: File =
        serde_json::from_slice(json).map_err(|error| Failure::new(Status::Failed, error))?;
    check_claims(&file.normalizer)?;
    let mut tokenizer = Tokenizer::from_bytes(json)?;
    check_growth(&tokenizer)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    let mut tokenizer = without_dropout(tokenizer);
    if lower_case {
        tokenizer = with_lower_case(tokenizer)?;
    }
    let final_id = missing_final_id(&tokenizer, final_token)?;
    let mut about = describe(&tokenizer)?;
    if final_id.is_some() {
        about.trailing += 1;
        about.final_token_added = 1;
    }
    let added = tokenizer.get_added_tokens_decoder();
    let mut special_ids: Vec<u32> =
        added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
    special_ids.sort_unstable();
    Ok(Loaded { tokenizer, about, special_ids, final_id })
}

fn encode(loaded: &Loaded, text: &[u8], with_spans: bool) -> Result<Owned, Failure> {
    let text = std::str::from_utf8(text).map_err(|error| Failure {
        status: Status::InvalidUtf8,
        offset: error.valid_up_to(),
        message: error.to_string(),
    })?;
    let encoding = if with_spans {
        loaded.tokenizer.encode(text, true)?
    } else {
        loaded.tokenizer.encode_fast(text, true)?
    };
    let (mut ids, mut type_ids) = (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec());
    if ids.len() != type_ids.len() {
        let message = format!("{} ids came with {} type ids", ids.len(), type_ids.len());
        return Err(Failure::new(Status::Failed, message));
    }
    let mut spans = Vec::new();
    if with_spans {
        spans.extend(
            encoding.get_offsets().iter().map(|(begin, end)| Span { begin: *begin, end: *end }),
        );
        if spans.len() != ids.len() {
            let message = format!("{} ids came with {} offsets", ids.len(), spans.len());
            return Err(Failure::new(Status::Failed, message));
        }
    }
    if let Some(id) = loaded.final_id {
        ids.push(id);
        type_ids.push(0);
        if with_spans {
            spans.push(Span { begin: text.len(), end: text.len() });
        }
    }
    Ok(Owned { ids, type_ids, spans, ..Owned::default() })
}

fn token(loaded: &Loaded, id: u32) -> Result<String, Failure> {
    loaded.tokenizer.id_to_token(id).ok_or_else(|| {
        let message = format!("token id {id} is not in the vocabulary");
        Failure::new(Status::InvalidArgument, message)
    })
}

fn decode(loaded: &Loaded, ids: &[u32], skip_special_tokens: bool) -> Result<String, Failure> {
    // The crate leaves out what it does not know.
    for id in ids {
        token(loaded, *id)?;
    }
    Ok(loaded.tokenizer.decode(ids, skip_special_tokens)?)
}

fn text_answer(text: String) -> Owned {
    Owned { text: text.into_bytes(), ..Owned::default() }
}

/// # Safety
/// See textvec_tokenizers.h: `json` and `final_token` have so many bytes, `tokenizer` may be written.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_load(
    json: *const u8,
    json_bytes: usize,
    lower_case: i32,
    final_token: *const u8,
    final_token_bytes: usize,
    tokenizer: *mut *mut Loaded,
) -> *mut Answer {
    if let Some(tokenizer) = tokenizer.as_mut() {
        *tokenizer = ptr::null_mut();
    }
    answer(|| {
        let null = || Failure::new(Status::InvalidArgument, "the tokenizer is a null pointer");
        let tokenizer = tokenizer.as_mut().ok_or_else(null)?;
        let final_token = view(final_token, final_token_bytes)?;
        let loaded = load(view(json, json_bytes)?, lower_case != 0, final_token)?;
        *tokenizer = Box::into_raw(Box::new(loaded));
        Ok(Owned::default())
    })
}

/// # Safety
/// See textvec_tokenizers.h: `text` has `text_bytes` bytes.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_encode(
    tokenizer: *const Loaded,
    text: *const u8,
    text_bytes: usize,
    with_spans: i32,
) -> *mut Answer {
    answer(|| encode(loaded(tokenizer)?, view(text, text_bytes)?, with_spans != 0))
}

/// # Safety
/// See textvec_tokenizers.h: `ids` has `ids_count` values.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_decode(
    tokenizer: *const Loaded,
    ids: *const u32,
    ids_count: usize,
    skip_special_tokens: i32,
) -> *mut Answer {
    answer(|| {
        let ids = view(ids, ids_count)?;
        decode(loaded(tokenizer)?, ids, skip_special_tokens != 0).map(text_answer)
    })
}

/// # Safety
/// See textvec_tokenizers.h.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_token(
    tokenizer: *const Loaded,
    id: u32,
) -> *mut Answer {
    answer(|| token(loaded(tokenizer)?, id).map(text_answer))
}

/// # Safety
/// See textvec_tokenizers.h.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_special_ids(tokenizer: *const Loaded) -> *mut Answer {
    answer(|| Ok(Owned { ids: loaded(tokenizer)?.special_ids.clone(), ..Owned::default() }))
}

/// # Safety
/// See textvec_tokenizers.h.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_describe(tokenizer: *const Loaded) -> About {
    guarded(|| Ok(loaded(tokenizer)?.about)).unwrap_or_default()
}

/// # Safety
/// `tokenizer` is null or came from textvec_tokenizers_load, and is not used again.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_free(tokenizer: *mut Loaded) {
    // There is nobody to tell of a failure.
    let _ = guarded(|| {
        if !tokenizer.is_null() {
            drop(Box::from_raw(tokenizer));
        }
        Ok(())
    });
}

/// # Safety
/// `answer` is null or came from a function of this library, and is not used again.
#[no_mangle]
pub unsafe extern "C" fn textvec_tokenizers_answer_free(answer: *mut Answer) {
    let _ = guarded(|| {
        if !answer.is_null() {
            drop(Box::from_raw(answer));
        }
        Ok(())
    });
}
