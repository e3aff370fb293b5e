/* In: a tokenizer.json, then UTF-8 texts. Out: token ids. The C interface of the Rust library here.
   Nothing unwinds out of these functions and nothing is printed: every failure, a panic of the
   tokenizers crate included, becomes the status and the text of an answer. */
#ifndef TEXTVEC_TOKENIZERS_H
#define TEXTVEC_TOKENIZERS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded tokenizer. Immutable: any number of threads may use it at the same time. */
typedef struct textvec_tokenizers_tokenizer textvec_tokenizers_tokenizer;

enum {
  TEXTVEC_TOKENIZERS_DONE = 0,
  TEXTVEC_TOKENIZERS_INVALID_UTF8 = 1,     /* offset: the first byte that begins no character */
  TEXTVEC_TOKENIZERS_INVALID_ARGUMENT = 2, /* a null pointer, an unknown id */
  TEXTVEC_TOKENIZERS_FAILED = 3,           /* the crate gave an error */
  TEXTVEC_TOKENIZERS_PANICKED = 4,         /* the crate has a bug */
};

/* Bytes of a text, from `begin` to before `end`. */
typedef struct textvec_tokenizers_span {
  size_t begin;
  size_t end;
} textvec_tokenizers_span;

/* What a call gave. Rust owns it and all it points to, until textvec_tokenizers_answer_free. A
   pointer may be read only where its count is above 0. */
typedef struct textvec_tokenizers_answer {
  int32_t status;
  size_t offset;       /* of INVALID_UTF8 */
  const uint8_t* text; /* UTF-8, no NUL at the end: the message unless DONE, else the result */
  size_t text_bytes;
  const uint32_t* ids;
  const uint32_t* type_ids;             /* one for each id, or null */
  const textvec_tokenizers_span* spans; /* one for each id, or null */
  size_t ids_count;
} textvec_tokenizers_answer;

typedef struct textvec_tokenizers_about {
  size_t vocabulary_size; /* added tokens included */
  size_t leading;         /* special tokens that the template puts before a text */
  size_t trailing;        /* and after it */
  uint32_t id_max;
  int32_t final_token_added; /* 1: the template did not put it there */
} textvec_tokenizers_about;

/* Reads a tokenizer.json and switches off its padding, truncation and dropout. With `lower_case`
   every text is lower-cased first, but for the special tokens in it. `final_token` ends every text,
   when it is not empty and the vocabulary has it. DONE: *tokenizer is set, to be freed with
   textvec_tokenizers_free; else it is null. No function that gives an answer gives null. */
textvec_tokenizers_answer* textvec_tokenizers_load(const uint8_t* json, size_t json_bytes,
                                                   int32_t lower_case, const uint8_t* final_token,
                                                   size_t final_token_bytes,
                                                   textvec_tokenizers_tokenizer** tokenizer);

/* ids and type_ids of one text, the template's special tokens included; `with_spans`, which takes
   longer, also where in the text each token stands, as it was given and not as it was normalised.
   Special tokens of the template stand at 0 to 0. */
textvec_tokenizers_answer* textvec_tokenizers_encode(const textvec_tokenizers_tokenizer* tokenizer,
                                                     const uint8_t* text, size_t text_bytes,
                                                     int32_t with_spans);

/* text: what the ids stand for. */
textvec_tokenizers_answer* textvec_tokenizers_decode(const textvec_tokenizers_tokenizer* tokenizer,
                                                     const uint32_t* ids, size_t ids_count,
                                                     int32_t skip_special_tokens);

/* text: the token as the vocabulary writes it. */
textvec_tokenizers_answer* textvec_tokenizers_token(const textvec_tokenizers_tokenizer* tokenizer,
                                                    uint32_t id);

/* ids: the added tokens marked special, ascending. */
textvec_tokenizers_answer* textvec_tokenizers_special_ids(
    const textvec_tokenizers_tokenizer* tokenizer);

/* All zero for a null tokenizer. */
textvec_tokenizers_about textvec_tokenizers_describe(const textvec_tokenizers_tokenizer* tokenizer);

/* Both take null. */
void textvec_tokenizers_free(textvec_tokenizers_tokenizer* tokenizer);
void textvec_tokenizers_answer_free(textvec_tokenizers_answer* answer);

#ifdef __cplusplus
}
#endif

#endif /* TEXTVEC_TOKENIZERS_H */
