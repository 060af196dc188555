"""Compiled geometry: deformation, normals, projection, vertex lighting, rasterisation."""

import math

import numba


@numba.njit(cache=True, fastmath=True)
def deform(rest, fields, active, contraction, jaw_weight, jaw_angle, pivot_y, pivot_z, out):
    """Displace the vertices [V, 3] by the active muscles, then turn the lower ones with the jaw."""
    cosine, sine = math.cos(jaw_angle), math.sin(jaw_angle)
    for i in range(rest.shape[0]):
        x, y, z = rest[i, 0], rest[i, 1], rest[i, 2]
        for k in range(active.shape[0]):
            amount = contraction[k]
            x += amount * fields[active[k], i, 0]
            y += amount * fields[active[k], i, 1]
            z += amount * fields[active[k], i, 2]
        weight = jaw_weight[i]
        if weight > 0 and jaw_angle != 0:
            up, forward = y - pivot_y, z - pivot_z
            y += weight * (cosine * up - sine * forward + pivot_y - y)
            z += weight * (sine * up + cosine * forward + pivot_z - z)
        out[i, 0], out[i, 1], out[i, 2] = x, y, z


@numba.njit(cache=True, fastmath=True)
def grid_normals(points, rows, columns, out):
    """Unit normals of a grid of points, from central differences."""
    for row in range(rows):
        below, above = max(row - 1, 0), min(row + 1, rows - 1)
        for column in range(columns):
            a = row * columns + min(column + 1, columns - 1)
            b = row * columns + max(column - 1, 0)
            c = above * columns + column
            d = below * columns + column
            ux, uy, uz = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
            vx, vy, vz = points[c, 0] - points[d, 0], points[c, 1] - points[d, 1], points[c, 2] - points[d, 2]
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            i = row * columns + column
            out[i, 0], out[i, 1], out[i, 2] = nx / length, ny / length, nz / length


@numba.njit(cache=True, fastmath=True)
def project(points, rotation, offset, distance, focal, centre_x, centre_y, scale, screen, inverse_depth):
    """Pinhole camera on the z axis at `distance`; `screen` in sub-pixels (x right, y down)."""
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz + offset[0]
        y = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz + offset[1]
        z = rotation[2, 0] * px + rotation[2, 1] * py + rotation[2, 2] * pz + offset[2]
        inverse = 1.0 / (distance - z)
        screen[i, 0] = (centre_x + focal * x * inverse) * scale
        screen[i, 1] = (centre_y - focal * y * inverse) * scale
        inverse_depth[i] = inverse


@numba.njit(cache=True, fastmath=True)
def light_vertices(points, normals, light, camera, ambient, key, shine, diffuse, highlight):
    """Wrapped Lambert key light, hemispheric ambient light, Blinn-Phong highlight."""
    for i in range(points.shape[0]):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        direct = max((nx * light[0] + ny * light[1] + nz * light[2] + 0.15) / 1.15, 0.0)
        sky = max(0.5 + 0.5 * (0.75 * nz + 0.4 * ny), 0.0)
        diffuse[i] = ambient * (0.5 + 0.5 * sky) + key * direct
        highlight[i] = 0.0
        if shine[i] > 0:
            cx, cy, cz = camera[0] - points[i, 0], camera[1] - points[i, 1], camera[2] - points[i, 2]
            inverse = 1.0 / math.sqrt(cx * cx + cy * cy + cz * cz)
            hx, hy, hz = cx * inverse + light[0], cy * inverse + light[1], cz * inverse + light[2]
            facing = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
            if facing > 0:
                highlight[i] = shine[i] * key * facing**18


@numba.njit(cache=True, fastmath=True)
def rasterise(screen, vertex_depth, triangles, inverse_depth, triangle_at, weight0, weight1):
    """Nearest triangle and barycentric weights of each sub-pixel; back faces are skipped."""
    height, width = triangle_at.shape
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= -1e-6:
            continue
        left = max(0, math.ceil(min(ax, bx, cx) - 0.5))
        right = min(width - 1, math.floor(max(ax, bx, cx) - 0.5))
        top = max(0, math.ceil(min(ay, by, cy) - 0.5))
        bottom = min(height - 1, math.floor(max(ay, by, cy) - 0.5))
        if left > right or top > bottom:
            continue
        step0, step1 = (by - cy) / area, (cy - ay) / area
        depth_a, depth_b, depth_c = vertex_depth[a], vertex_depth[b], vertex_depth[c]
        for y in range(top, bottom + 1):
            px, py = left + 0.5, y + 0.5
            w0 = ((bx - px) * (cy - py) - (cx - px) * (by - py)) / area - step0
            w1 = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) / area - step1
            for x in range(left, right + 1):
                w0 += step0
                w1 += step1
                w2 = 1.0 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                depth = w0 * depth_a + w1 * depth_b + w2 * depth_c
                if depth > inverse_depth[y, x]:
                    inverse_depth[y, x] = depth
                    triangle_at[y, x] = k
                    weight0[y, x] = w0
                    weight1[y, x] = w1


@numba.njit(cache=True, fastmath=True)
def darken(masks, depths, texture):
    """Write 1 - sum of the wrinkle masks into the fourth channel of the texture [H, W, 4]."""
    groups, height, width = masks.shape
    for y in range(height):
        for x in range(width):
            shade = 1.0
            for k in range(groups):
                if depths[k] > 0:
                    shade -= depths[k] * masks[k, y, x]
            texture[y, x, 3] = max(shade, 0.2)
