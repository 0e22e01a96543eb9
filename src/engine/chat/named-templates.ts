/**
 * Chat templates by name, for files that come without one: written for this project, to the formats
 * of the models that are named beside them.
 */

/** Turns of a user and the assistant, after a message of the system's if there is one. */
const ALTERNATING = `
{%- set has_system = messages[0].role == 'system' -%}
{%- set turns = messages[1:] if has_system else messages -%}
{%- for turn in turns -%}
  {%- if turn.role != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
    {{- raise_exception('after the system, roles must alternate: user, assistant, user, assistant') -}}
  {%- endif -%}
{%- endfor -%}`;

/** Llama 2 Chat: the system's message stands in the first question. */
const LLAMA2 = String.raw`${ALTERNATING}
{%- for turn in turns -%}
  {%- if turn.role == 'user' -%}
    {%- set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' if loop.first and has_system else '' -%}
    {{- bos_token -}}
    {{- '[INST] ' + (system + turn.content) | trim + ' [/INST]' -}}
  {%- else -%}
    {{- ' ' + turn.content | trim + ' ' -}}
    {{- eos_token -}}
  {%- endif -%}
{%- endfor -%}`;

/**
 * Llama 3 Instruct; 3.1 to 3.3 add the date of their training and today's, which their files' own
 * templates do.
 */
const LLAMA3 = String.raw`
{{- bos_token -}}
{%- for message in messages -%}
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%}`;

/**
 * OpenAI's markup, of Qwen, SmolLM, OpenHermes and many others. No message of the system's is put
 * in.
 */
const CHATML = String.raw`
{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
{%- endif -%}`;

/**
 * Mistral 7B Instruct v0.1 and v0.2 and Mixtral, "v1" of mistral-common. Later ones leave out
 * spaces around [INST].
 */
const MISTRAL = String.raw`${ALTERNATING}
{{- bos_token -}}
{%- for turn in turns -%}
  {%- if turn.role == 'user' -%}
    {%- set system = messages[0].content + '\n\n' if loop.first and has_system else '' -%}
    {{- ' [INST] ' + system + turn.content + ' [/INST]' -}}
  {%- else -%}
    {{- ' ' + turn.content -}}
    {{- eos_token -}}
  {%- endif -%}
{%- endfor -%}`;

/** Zephyr 7B beta and TinyLlama Chat v1.0. */
const ZEPHYR = String.raw`
{%- for message in messages -%}
  {{- '<|' + message.role + '|>\n' + message.content -}}
  {{- eos_token -}}
  {{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>\n' -}}
{%- endif -%}`;

/**
 * For models that were not trained to chat: paragraphs without markup. The answer is the next
 * paragraph, so that the text of a longer conversation begins with that of a shorter one.
 */
const PLAIN = String.raw`
{%- for message in messages -%}
  {{- message.content -}}
  {%- if not loop.last or add_generation_prompt -%}
    {{- '\n\n' -}}
  {%- endif -%}
{%- endfor -%}`;

export const NAMED_TEMPLATES: ReadonlyMap<string, string> = new Map([
  ["llama2", LLAMA2],
  ["llama3", LLAMA3],
  ["chatml", CHATML],
  ["mistral", MISTRAL],
  ["zephyr", ZEPHYR],
  ["plain", PLAIN],
]);
