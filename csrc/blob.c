/* Blobs: see blob.h. */
#include "blob.h"

#include "atomics.h"
#include "errors.h"
#include "region.h"

#include <stdlib.h>
#include <string.h>

void ferry__first_blob_clear(ferry__first_blob *first) {
    free(first->data);
    memset(first, 0, sizeof *first);
}

void ferry__outbox_clear(ferry__outbox *outbox) {
    if (outbox->memory != FERRY__NO_OS) ferry__platform_close(outbox->memory);
    outbox->memory = FERRY__NO_OS;
}

int ferry__inbox_open(ferry__inbox *inbox, uint64_t at, uint64_t room, ferry_why *why) {
    memset(inbox, 0, sizeof *inbox);
    inbox->copy = (char *)malloc((size_t)room + 1);
    if (inbox->copy == NULL) return ferry__no_memory(why);
    inbox->at = at, inbox->room = room;
    return 0;
}

static void ferry__inbox_unmap(ferry__inbox *inbox) {
    if (inbox->mapped != NULL) ferry__platform_memory_unmap(inbox->mapped, inbox->mapped_bytes);
    inbox->mapped = NULL;
}

static int ferry__damaged_blob(ferry__channel *channel, const ferry__slot *head) {
    return ferry__channel_damaged(channel, "a blob has format %d, place %d, %llu bytes", head->blob_format, head->blob_where,
                                  (ferry__ull)head->blob_bytes);
}

int ferry__blobs_part(ferry_blob *out, ferry_blob *first) {
    ferry__joined joined;
    const char *data = (const char *)out->data;
    uint64_t left = out->size_bytes;
    if (left < sizeof joined) return -1;
    memcpy(&joined, data, sizeof joined);
    left -= sizeof joined;
    if (joined.first_format > FERRY_VALUES || joined.second_format > FERRY_VALUES || joined.first_bytes > left) return -1;
    first->data = data + sizeof joined, first->size_bytes = joined.first_bytes, first->format = joined.first_format;
    out->data = data + sizeof joined + joined.first_bytes, out->size_bytes = left - joined.first_bytes, out->format = joined.second_format;
    return 0;
}

int ferry__inbox_take(ferry__inbox *inbox, ferry__channel *channel, const ferry__slot *head, const ferry__slot *slot, ferry_blob *out,
                      ferry_blob *first) {
    ferry__os memory;
    ferry_why why;
    int err;
    if (inbox->mapped != NULL) ferry__inbox_unmap(inbox);
    memset(out, 0, sizeof *out);
    if (first != NULL) memset(first, 0, sizeof *first);
    inbox->used = head->blob_format != FERRY_NONE;
    if (!inbox->used) return 0;
    if (head->blob_format > (first != NULL ? FERRY__JOINED : FERRY_VALUES) || head->blob_where > FERRY__WHERE_DESCRIPTOR ||
        (head->blob_where == FERRY__WHERE_SLOT && head->blob_bytes > inbox->room))
        return ferry__damaged_blob(channel, head);
    out->format = head->blob_format, out->size_bytes = head->blob_bytes, out->data = inbox->copy;
    if (head->blob_where == FERRY__WHERE_SLOT) {
        ferry__copy_in(inbox->copy, (const char *)slot + inbox->at, (size_t)head->blob_bytes);
        return out->format != FERRY__JOINED || ferry__blobs_part(out, first) == 0 ? 0 : ferry__damaged_blob(channel, head);
    }
    err = ferry__channel_take_blob(channel, head->blob_bytes, &memory);
    if (err < 0) return err;
    if (head->blob_bytes > 0) err = ferry__platform_memory_map(memory, head->blob_bytes, 0, &inbox->mapped, &why);
    ferry__platform_close(memory);
    if (err < 0) return ferry__channel_lose(channel, why.code, "%s", why.text);
    inbox->mapped_bytes = head->blob_bytes;
    if (inbox->mapped != NULL) out->data = inbox->mapped;
    return out->format != FERRY__JOINED || ferry__blobs_part(out, first) == 0 ? 0 : ferry__damaged_blob(channel, head);
}

void ferry__inbox_close(ferry__inbox *inbox) {
    ferry__inbox_unmap(inbox);
    free(inbox->copy);
    inbox->copy = NULL;
}

/* Puts a blob of any format, the two joined among them. */
static int ferry__outbox_write(ferry__outbox *outbox, const ferry_blob *blob, ferry__slot *slot, ferry_why *why) {
    ferry__outbox_clear(outbox);
    outbox->used = blob->format != FERRY_NONE;
    outbox->format = blob->format;
    slot->blob_format = FERRY_NONE, slot->blob_where = FERRY__WHERE_SLOT, slot->blob_bytes = 0;
    if (blob->format == FERRY_NONE) return 0;
    if (blob->size_bytes > FERRY_MAX_BLOB)
        return ferry__fail(why, FERRY_ETOOBIG,
                           "a blob of %llu bytes: at most %llu can travel with a turn; send less, or write it to a file",
                           (ferry__ull)blob->size_bytes, (ferry__ull)FERRY_MAX_BLOB);
    if (blob->size_bytes > outbox->room) {
        if (ferry__region_allowed(blob->size_bytes, FERRY_MAX_BLOB, why) < 0 ||
            ferry__platform_memory_freeze(blob->data, blob->size_bytes, &outbox->memory, why) < 0)
            return why->code;
        slot->blob_where = FERRY__WHERE_DESCRIPTOR;
    } else if (blob->size_bytes > 0) memcpy((char *)slot + outbox->at, blob->data, (size_t)blob->size_bytes);
    slot->blob_format = (uint8_t)blob->format, slot->blob_bytes = outbox->bytes = blob->size_bytes;
    return 0;
}

int ferry__outbox_put(ferry__outbox *outbox, const ferry_blob *blob, ferry__slot *slot, ferry_why *why) {
    if (blob->format > FERRY_VALUES || (blob->format != FERRY_NONE && blob->data == NULL && blob->size_bytes > 0))
        return ferry__fail(why, FERRY_EINVAL, "a blob needs data and one of the formats JSON, MSGPACK, TEXT, VALUES (format is %u)",
                           blob->format);
    return ferry__outbox_write(outbox, blob, slot, why);
}

/* Room for the two head words and so many bytes. */
static int ferry__first_blob_grow(ferry__first_blob *first, uint64_t bytes, ferry_why *why) {
    uint64_t need = sizeof(ferry__joined) + bytes;
    char *grown = (uint64_t)(size_t)need == need ? (char *)realloc(first->data, (size_t)need) : NULL;
    if (grown == NULL) return ferry__no_memory(why);
    first->data = grown;
    return 0;
}

int ferry__outbox_keep(ferry__outbox *outbox, const ferry__slot *slot, ferry__first_blob *first, ferry_why *why) {
    ferry__joined joined;
    void *mapped = NULL;
    ferry__first_blob_clear(first);
    if (!outbox->used) return 0;
    memset(&joined, 0, sizeof joined);
    joined.first_format = outbox->format, joined.first_bytes = outbox->bytes;
    if (ferry__first_blob_grow(first, outbox->bytes, why) < 0) return why->code;
    memcpy(first->data, &joined, sizeof joined);
    if (outbox->memory != FERRY__NO_OS) {
        if (ferry__platform_memory_map(outbox->memory, outbox->bytes, 0, &mapped, why) < 0) return why->code;
        memcpy(first->data + sizeof joined, mapped, (size_t)outbox->bytes);
        ferry__platform_memory_unmap(mapped, outbox->bytes);
    } else memcpy(first->data + sizeof joined, (const char *)slot + outbox->at, (size_t)outbox->bytes);
    first->bytes = sizeof joined + outbox->bytes;
    ferry__outbox_clear(outbox);
    outbox->used = 0;
    return 0;
}

int ferry__outbox_put_joined(ferry__outbox *outbox, ferry__first_blob *first, const ferry_blob *blob, ferry__slot *slot, ferry_why *why) {
    ferry__joined joined;
    ferry_blob both;
    uint64_t second_bytes = blob->format != FERRY_NONE ? blob->size_bytes : 0;
    if (second_bytes > FERRY_MAX_BLOB) return ferry__outbox_put(outbox, blob, slot, why);
    memcpy(&joined, first->data, sizeof joined);
    if (ferry__first_blob_grow(first, joined.first_bytes + second_bytes, why) < 0) return why->code;
    joined.second_format = blob->format;
    memcpy(first->data, &joined, sizeof joined);
    if (second_bytes > 0) memcpy(first->data + first->bytes, blob->data, (size_t)second_bytes);
    memset(&both, 0, sizeof both);
    both.data = first->data, both.size_bytes = first->bytes + second_bytes, both.format = FERRY__JOINED;
    return ferry__outbox_write(outbox, &both, slot, why);
}

void ferry__outbox_send(ferry__outbox *outbox, ferry__channel *channel) {
    ferry__welcome blob;
    blob.bytes = outbox->bytes;
    (void)ferry__send_frame(channel->stream, FERRY__BLOB, &blob, sizeof blob, outbox->memory);
    channel->line->big_blobs++;
    ferry__outbox_clear(outbox);
}
