#!/usr/bin/env python3
"""Writes the golden tables of the data tests with Pillow as the oracle.

    python3 tests/data/golden/make_golden.py

Needs NumPy and Pillow 9.4 (libjpeg-turbo 2.1.5), which made the stored tables. Pillow 13.0 agrees
but for one thing: when the height shrinks and the width grows it runs the vertical pass first, so
the rounding in between differs. Tables hold FNV-1a hashes of the pixels; the input images are made by a formula that
tests/data/test_images.h repeats, or are stored as bytes.
"""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageEnhance

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = {'nearest': 0, 'box': 4, 'bilinear': 2, 'bicubic': 3, 'lanczos': 1}


def fnv(array):
    h = 0xCBF29CE484222325
    for b in np.ascontiguousarray(array, dtype=np.uint8).tobytes():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f'0x{h:016x}'


def formula(height, width, channels):
    """Waves in one half, noise in the other: both smooth and clipped sums occur."""
    y, x, c = np.meshgrid(np.arange(height, dtype=np.uint64), np.arange(width, dtype=np.uint64),
                          np.arange(channels, dtype=np.uint64), indexing='ij')
    waves = (x * x * 3 + y * y * 5 + x * y + c * 71) // 7
    noise = ((x * 73856093 + y * 19349663 + c * 83492791) & 0xFFFFFFFF) // 8192
    return np.where((x + y) % 32 < 16, waves, noise).astype(np.uint64).astype(np.uint8)


def pil(array):
    mode = {1: 'L', 3: 'RGB', 4: 'CMYK'}[array.shape[2]]
    return Image.fromarray(array[:, :, 0] if mode == 'L' else array, mode)


def write(name, lines):
    with open(os.path.join(HERE, name), 'w') as f:
        f.write('// Written by make_golden.py.\n')
        f.writelines(line + '\n' for line in lines)


def resize_table():
    sizes = [((1, 1), (5, 3)), ((3, 4), (5, 6)), ((3, 4), (2, 2)), ((1, 40), (1, 7)),
             ((40, 1), (7, 2)), ((64, 128), (64, 31)), ((64, 33), (17, 33)), ((7, 5), (7, 50)),
             ((128, 64), (256, 128)), ((161, 61), (256, 128)), ((256, 128), (256, 128)),
             ((256, 256), (224, 224)), ((256, 256), (100, 299)), ((95, 125), (63, 85)),
             ((200, 190), (3, 2)), ((17, 23), (160, 150)), ((300, 200), (299, 201)),
             ((33, 400), (66, 13)), ((2, 2), (9, 9)), ((50, 70), (1, 1))]
    lines = []
    for (h, w), (oh, ow) in sizes:
        for c in (1, 3, 4):
            image = pil(formula(h, w, c))
            for name, code in FILTERS.items():
                lines.append(f'{{"{name}", {c}, {h}, {w}, {oh}, {ow}, '
                             f'{fnv(np.asarray(image.resize((ow, oh), code)))}}},')
    write('resize_golden.inc', lines)


def hue(image, factor):
    h, s, v = image.convert('HSV').split()
    shift = int(factor * 255) & 255
    h = Image.fromarray(((np.asarray(h).astype(int) + shift) & 255).astype(np.uint8), 'L')
    return Image.merge('HSV', (h, s, v)).convert('RGB')


def color_table():
    ops = {'brightness': lambda i, f: ImageEnhance.Brightness(i).enhance(f),
           'contrast': lambda i, f: ImageEnhance.Contrast(i).enhance(f),
           'saturation': lambda i, f: ImageEnhance.Color(i).enhance(f), 'hue': hue}
    lines = []
    for h, w in ((40, 64), (128, 96)):
        image = pil(formula(h, w, 3))
        lines.append(f'{{"grey", {h}, {w}, 0, {fnv(np.asarray(image.convert("L")))}}},')
        for name, op in ops.items():
            factors = ((-0.5, -0.31, -0.1, 0.0, 0.05, 0.1, 0.4, 0.5) if name == 'hue' else
                       (0.0, 0.3, 0.9, 0.95, 1.0, 1.0371, 1.1, 1.9, 3.0))
            for f in factors:
                lines.append(f'{{"{name}", {h}, {w}, {f}, {fnv(np.asarray(op(image, f)))}}},')
    write('color_golden.inc', lines)


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def raw_png(width, height, bits, colour, rows, interlace=0, extra=b''):
    """A PNG of unfiltered rows (bytes), for the kinds that Pillow cannot write."""
    head = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, interlace)
    body = zlib.compress(b''.join(b'\0' + row for row in rows))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + extra + chunk(b'IDAT', body) +
            chunk(b'IEND', b''))


def adam7(array):
    rows = []
    for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                           (0, 1, 2, 2), (1, 0, 2, 1)):
        part = array[y0::dy, x0::dx]
        if part.size:
            rows += [row.tobytes() for row in part]
    return rows


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def bmp(width, height, bits, data, compression=0, palette=b'', masks=b'', header=40, used=None):
    """A BMP of bytes that are ready to be stored; height < 0: rows from the top."""
    core = header == 12
    info = struct.pack('<HHHH', width, height, 1, bits) if core else struct.pack(
        '<iiHHIIiiII', width, height, 1, bits, compression, len(data), 0, 0,
        len(palette) // 4 if used is None else used, 0)
    info = (struct.pack('<I', header) + info + masks).ljust(header, b'\0')
    offset = 14 + len(info) + len(palette)
    return (b'BM' + struct.pack('<IHHI', offset + len(data), 0, 0, offset) + info + palette + data)


def bmp_files():
    def pixels(width, height, bits):
        count = (width * bits + 31) // 32 * 4 * height
        return formula(1, count, 1).tobytes()

    colours = formula(1, 256, 4).tobytes()
    core_colours = formula(1, 256, 3).tobytes()
    m565 = struct.pack('<III', 0xF800, 0x07E0, 0x001F)
    m888 = struct.pack('<III', 0xFF0000, 0xFF00, 0xFF)
    xbgr = struct.pack('<III', 0xFF000000, 0xFF0000, 0xFF00)
    runs8 = bytes([4, 7, 3, 9, 0, 0, 0, 3, 1, 2, 3, 0, 0, 2, 1, 1, 2, 200, 9, 5, 0, 1])
    runs4 = bytes([5, 0x12, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 0, 9, 0xAB, 0, 1])
    return {
        'bmp_top_down_24': bmp(9, -5, 24, pixels(9, 5, 24)),
        'bmp_top_down_8': bmp(9, -5, 8, pixels(9, 5, 8), palette=colours),
        'bmp_top_down_1': bmp(9, -5, 1, pixels(9, 5, 1), palette=colours[:8]),
        'bmp_4': bmp(9, 5, 4, pixels(9, 5, 4), palette=colours[:64]),
        'bmp_4_few_colours': bmp(9, 5, 4, pixels(9, 5, 4), palette=colours[:24]),
        'bmp_555': bmp(9, 5, 16, pixels(9, 5, 16)),
        'bmp_565': bmp(9, 5, 16, pixels(9, 5, 16), 3, masks=m565),
        'bmp_32': bmp(9, 5, 32, pixels(9, 5, 32)),
        'bmp_32_masks': bmp(9, 5, 32, pixels(9, 5, 32), 3, masks=xbgr),
        'bmp_32_v4': bmp(9, -5, 32, pixels(9, 5, 32), 3, masks=m888 + b'\0\0\0\xFF', header=108),
        'bmp_24_v5': bmp(9, 5, 24, pixels(9, 5, 24), header=124),
        'bmp_core_24': bmp(9, 5, 24, pixels(9, 5, 24), header=12),
        'bmp_core_8': bmp(16, 16, 8, bytes(range(256)), palette=core_colours, header=12),
        'bmp_runs_8': bmp(7, 3, 8, runs8, 1, palette=colours),
        'bmp_runs_4': bmp(5, 3, 4, runs4, 2, palette=colours[:64]),
    }


def codec_table():
    rgb = pil(formula(16, 21, 3))
    cmyk = pil(formula(16, 21, 4))
    grey = pil(formula(16, 21, 1))
    rgba = Image.fromarray(formula(16, 21, 4), 'RGBA')
    palette = rgb.quantize(13)
    files = {
        'jpeg_420': saved(rgb, format='JPEG', quality=80),
        'jpeg_422': saved(rgb, format='JPEG', quality=80, subsampling=1),
        'jpeg_444': saved(rgb, format='JPEG', quality=95, subsampling=0),
        'jpeg_progressive': saved(rgb, format='JPEG', quality=70, progressive=True),
        'jpeg_grey': saved(grey, format='JPEG', quality=85),
        'jpeg_cmyk': saved(cmyk, format='JPEG', quality=85),
        'png_rgb': saved(rgb, format='PNG'),
        'png_rgba': saved(rgba, format='PNG'),
        'png_grey': saved(grey, format='PNG'),
        'png_grey_alpha': saved(rgba.convert('LA'), format='PNG'),
        'png_palette': saved(palette, format='PNG'),
        'png_palette_transparent': saved(palette, format='PNG', transparency=3),
        'png_one_bit': saved(grey.convert('1'), format='PNG'),
        'png_two_bits': raw_png(9, 4, 2, 0, [bytes([0x1B, 0xE4, 0x40 * i]) for i in range(4)]),
        'png_four_bits': raw_png(5, 3, 4, 0, [bytes([0x01, 0x9A, 0x10 * i]) for i in range(3)]),
        'png_rgb16': raw_png(7, 5, 16, 2, [r.tobytes() for r in formula(5, 7, 6)]),
        'png_interlaced': raw_png(21, 16, 8, 2, adam7(formula(16, 21, 3)), interlace=1),
        'bmp_rgb': saved(rgb, format='BMP'),
        'bmp_grey': saved(grey, format='BMP'),
        'bmp_palette': saved(palette, format='BMP'),
        'bmp_one_bit': saved(grey.convert('1'), format='BMP'),
        'bmp_rgba': saved(rgba, format='BMP'),
        'ppm': saved(rgb, format='PPM'),
        'pgm': saved(grey, format='PPM'),
    }
    # Adobe's marker with transform 2 says that the four components are YCCK.
    at = files['jpeg_cmyk'].find(b'Adobe')
    ycck = bytearray(files['jpeg_cmyk'])
    ycck[at + 11] = 2
    files['jpeg_ycck'] = bytes(ycck)
    # A big-endian EXIF block whose only entry is orientation 6: it must not be applied.
    exif = (b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0' + b'\0' * 4)
    files['jpeg_exif'] = saved(rgb, format='JPEG', quality=80, exif=exif)
    files.update(bmp_files())
    lines = []
    for name, data in files.items():
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
        text = ''.join(f'\\x{b:02x}' for b in data)
        parts = '\n  '.join(f'"{text[i:i + 96]}"' for i in range(0, len(text), 96))
        lines.append(f'{{"{name}", {pixels.shape[0]}, {pixels.shape[1]}, {fnv(pixels)}, '
                     f'std::string_view(\n  {parts}, {len(data)})}},')
    write('codec_golden.inc', lines)


if __name__ == '__main__':
    resize_table()
    color_table()
    codec_table()
